/**
 * What the pods of a pool tell: how many work, and what keeps the others from it. Pure; Kubernetes' own shapes in, a
 * few facts out. The same state gives the same words, although the kubelet alternates between an error and its back-off.
 */
import { workerContainer } from '../api/v1alpha1/template.ts';
import type { RawPod } from '../kube/types.ts';
import { lastWords, redact } from './lastWords.ts';

type RawPodStatus = NonNullable<RawPod['status']>;
type ContainerStatus = NonNullable<RawPodStatus['containerStatuses']>[number];

/** The parts of a pod that are read. */
export interface PodView {
  readonly metadata: { readonly name?: string | undefined; readonly deletionTimestamp?: string | undefined };
  readonly status?: Partial<Pick<RawPodStatus, 'phase' | 'conditions' | 'containerStatuses' | 'initContainerStatuses'>>;
}

/** Why pods do not work, worst first. */
export type PodProblemReason = 'ImagePullFailed' | 'PodConfigInvalid' | 'WorkerCrashed' | 'Unschedulable';

/** What is wrong with a pod, in a sentence. */
export interface PodProblem {
  readonly reason: PodProblemReason;
  readonly pod: string;
  readonly message: string;
}

/** The facts. Pods that are being deleted count for nothing but `terminating`. */
export interface PodFacts {
  readonly ready: number;
  readonly starting: number;
  readonly terminating: number;
  /** The worst problem, of the first pod by name that has it. */
  readonly problem?: PodProblem;
  /** By pod name: whether its worker container runs now, so that it could be heard of. */
  readonly workerRunning: ReadonlyMap<string, boolean>;
  /** Pods whose worker has run for a minute and is not being ended: silence of these means something. */
  readonly settled: ReadonlySet<string>;
  /** After this many milliseconds the facts may differ although no pod has changed. */
  readonly nextCheckMs?: number;
}

/** For how long (ms) a container that runs again after an error is still taken for one that crashes. */
const settleMs = 30_000;
/** For how long (ms) a worker may be silent after its start: it imports the app, connects and beats for the first time. */
const startMs = 60_000;

const problemOrder: readonly PodProblemReason[] = [
  'ImagePullFailed',
  'PodConfigInvalid',
  'WorkerCrashed',
  'Unschedulable',
];
const pullReasons = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]);
const configReasons = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'StartError',
  'PreStartHookError',
  'PostStartHookError',
]);

/**
 * Reads the pods of a pool.
 * @param secrets texts that must not appear in a message
 * @param nowMs wall clock
 */
export function readPodFacts(pods: readonly PodView[], secrets: readonly string[], nowMs: number): PodFacts {
  const workerRunning = new Map<string, boolean>();
  const settled = new Set<string>();
  const problems: PodProblem[] = [];
  let ready = 0;
  let starting = 0;
  let terminating = 0;
  let nextCheckMs: number | undefined;
  for (const pod of [...pods].sort(byName)) {
    const name = pod.metadata.name ?? '';
    const runningSince = workerStartedAtMs(pod);
    workerRunning.set(name, runningSince !== undefined);
    if (pod.metadata.deletionTimestamp !== undefined) {
      terminating++;
      continue;
    }
    if (pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded') continue;
    if (runningSince !== undefined && nowMs - runningSince >= startMs) settled.add(name);
    const found = findProblem(pod, name, secrets, nowMs);
    if (found.problem !== undefined) problems.push(found.problem);
    if (found.settlesInMs !== undefined) nextCheckMs = Math.min(nextCheckMs ?? Infinity, found.settlesInMs);
    if (isReady(pod) && found.problem === undefined) ready++;
    else starting++;
  }
  const problem = problemOrder.flatMap((reason) => problems.find((candidate) => candidate.reason === reason) ?? [])[0];
  return {
    ready,
    starting,
    terminating,
    ...(problem === undefined ? {} : { problem }),
    workerRunning,
    settled,
    ...(nextCheckMs === undefined ? {} : { nextCheckMs }),
  };
}

function byName(a: PodView, b: PodView): number {
  return (a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1;
}

function isReady(pod: PodView): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** When the worker container that runs now was started; undefined when none runs. */
function workerStartedAtMs(pod: PodView): number | undefined {
  const worker = pod.status?.containerStatuses?.find(({ name }) => name === workerContainer);
  const running = worker?.state?.running;
  return running === undefined ? undefined : Date.parse(running.startedAt ?? '');
}

interface Found {
  readonly problem?: PodProblem;
  readonly settlesInMs?: number;
}

function findProblem(pod: PodView, name: string, secrets: readonly string[], nowMs: number): Found {
  const containers = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const container of containers) {
    const found = findContainerProblem(container, name, secrets, nowMs);
    if (found.problem !== undefined) return found;
  }
  const unscheduled = pod.status?.conditions?.find(
    ({ type, status, reason }) => type === 'PodScheduled' && status === 'False' && reason === 'Unschedulable',
  );
  if (unscheduled === undefined) return {};
  const message = `pod ${name} cannot be placed on a node: ${redact(unscheduled.message ?? 'no reason given', secrets)}`;
  return { problem: { reason: 'Unschedulable', pod: name, message } };
}

function findContainerProblem(
  container: ContainerStatus,
  pod: string,
  secrets: readonly string[],
  nowMs: number,
): Found {
  const waiting = container.state?.waiting;
  const said = redact(waiting?.message ?? '', secrets);
  if (waiting?.reason !== undefined && pullReasons.has(waiting.reason)) {
    return { problem: { reason: 'ImagePullFailed', pod, message: pullMessage(container, said) } };
  }
  if (waiting?.reason !== undefined && configReasons.has(waiting.reason)) {
    const message = `container ${container.name} of pod ${pod} cannot be started: ${said === '' ? waiting.reason : said}`;
    return { problem: { reason: 'PodConfigInvalid', pod, message } };
  }
  const ended = container.state?.terminated ?? container.lastState?.terminated;
  if (ended === undefined || ended.exitCode === 0) return {};
  const running = container.state?.running;
  if (running === undefined) return { problem: crash(container, pod, ended, secrets) };
  // Between two crashes a container runs, and without a readiness probe it is ready: not well until it has settled.
  const settlesInMs = Date.parse(running.startedAt ?? '') + settleMs - nowMs;
  return settlesInMs > 0 ? { problem: crash(container, pod, ended, secrets), settlesInMs } : {};
}

/** One wording for the error and for the back-off after it, which repeats the error behind a preface. */
function pullMessage(container: ContainerStatus, said: string): string {
  const cause = said.replace(/^Back-off pulling image "[^"]*"(: )?/, '').replace(/^ErrImagePull: /, '');
  return `image ${container.image} of container ${container.name} cannot be pulled${cause === '' ? '' : `: ${cause}`}`;
}

type Terminated = NonNullable<NonNullable<ContainerStatus['state']>['terminated']>;

function crash(container: ContainerStatus, pod: string, ended: Terminated, secrets: readonly string[]): PodProblem {
  const how =
    ended.reason === 'OOMKilled'
      ? 'was killed for using more memory than its limit (OOMKilled)'
      : `ended with exit code ${ended.exitCode}`;
  const words = lastWords(ended.message ?? '', secrets);
  const message = `container ${container.name} of pod ${pod} ${how}${words === '' ? '' : `: ${words}`}`;
  return { reason: 'WorkerCrashed', pod, message };
}
