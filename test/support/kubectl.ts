/** kubectl as a user runs it, and the one thing that a cluster without nodes lacks: somebody who reports on pods. */
import { execa } from 'execa';
import { ensureBinary } from '../../dev/cluster/binaries.ts';
import type { KubeClient } from '../../operator/kube/client.ts';
import { resources, type RawPod } from '../../operator/kube/types.ts';
import { eventually } from './eventually.ts';

/** Runs kubectl; resolves to what it prints, rejects with what it says when it fails. `input` goes to its stdin. */
export type Kubectl = (args: readonly string[], input?: string) => Promise<string>;

/** kubectl for one cluster. */
export async function makeKubectl(kubeconfigPath: string): Promise<Kubectl> {
  const kubectl = await ensureBinary('kubectl');
  return async (args, input) => {
    const from = input === undefined ? ({ stdin: 'ignore' } as const) : { input };
    const { stdout } = await execa(kubectl, [...args], { env: { KUBECONFIG: kubeconfigPath }, ...from });
    return stdout;
  };
}

type ContainerState = NonNullable<NonNullable<NonNullable<RawPod['status']>['containerStatuses']>[number]['state']>;

/** What a kubelet says about the container `worker` of a pod. */
export interface ContainerReport {
  readonly state: ContainerState;
  /** How the container that ran before ended. */
  readonly lastState?: ContainerState;
  readonly restarts?: number;
}

/** A worker that has run for a while. */
export function runningFor(seconds: number): ContainerReport {
  return { state: { running: { startedAt: new Date(Date.now() - seconds * 1000).toISOString() } } };
}

/**
 * Acts as the kubelet of a pod: says in its status what its container does. The pod is bound to no node, so nobody
 * contradicts once the scheduler has said that it found none; and it can be deleted without a kubelet.
 */
export async function actAsKubelet(client: KubeClient, pod: RawPod, report: ContainerReport): Promise<void> {
  const { namespace = '', name = '' } = pod.metadata;
  await eventually(async () => {
    const { status } = await client.get<RawPod>(resources.pods, namespace, name);
    return status?.conditions?.some(({ type }) => type === 'PodScheduled') ?? false;
  });
  const isRunning = report.state.running !== undefined;
  const condition = (type: string, isTrue: boolean): object => ({ type, status: isTrue ? 'True' : 'False' });
  const worker = pod.spec?.containers.find((container) => container.name === 'worker');
  const status = {
    phase: isRunning ? 'Running' : 'Pending',
    conditions: [
      condition('PodScheduled', true),
      condition('ContainersReady', isRunning),
      condition('Ready', isRunning),
    ],
    containerStatuses: [
      {
        name: 'worker',
        image: worker?.image ?? '',
        imageID: '',
        ready: isRunning,
        started: isRunning,
        restartCount: report.restarts ?? 0,
        state: report.state,
        lastState: report.lastState ?? {},
      },
    ],
  };
  await client.mergePatch(
    resources.pods,
    namespace,
    name,
    { status },
    { fieldManager: 'kubelet', subresource: 'status' },
  );
}
