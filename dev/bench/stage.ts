/**
 * Everything real that the operator works against: a control plane without nodes (pods stay Pending, which is all that
 * sizes need), a Redis, the CRD, namespaces with the broker's Secret, and a watch on Deployments that tells when the
 * API server has accepted a size.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Redis } from 'ioredis';
import { workerPoolResource } from '../../operator/api/v1alpha1/workerpool.ts';
import type { KubeClient } from '../../operator/kube/client.ts';
import { createInformer, type Informer } from '../../operator/kube/informer.ts';
import { resources, type RawDeployment } from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { startApiServer } from '../../test/support/apiServer.ts';
import { eventually } from '../../test/support/eventually.ts';
import { makeKubectl } from '../../test/support/kubectl.ts';
import { startRedis } from '../../test/support/redisServer.ts';
import { silentLog } from '../../test/support/silentLog.ts';

const crds = fileURLToPath(new URL('../../crds', import.meta.url));

/** A Deployment as far as it is measured. */
export interface Size {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly replicas: number;
  readonly isPaused: boolean;
}

/** What runs. */
export interface Stage {
  readonly kubeconfigPath: string;
  /** A temporary folder, deleted by `stop`. */
  readonly dir: string;
  readonly client: KubeClient;
  readonly redis: Redis;
  readonly brokerUrl: string;
  readonly sizes: Informer<Size>;
  /** Resolves to the time (`performance.now()`) at which the watch showed a size that satisfies `wanted`. */
  sized(key: string, wanted: (size: Size) => boolean, timeoutMs?: number): Promise<number>;
  stop(): Promise<void>;
}

/** Starts it all. */
export async function startStage(): Promise<Stage> {
  const [api, server, dir] = await Promise.all([
    startApiServer(),
    startRedis(),
    mkdtemp(join(tmpdir(), 'muster-bench-')),
  ]);
  const kubectl = await makeKubectl(api.cluster.kubeconfigPath);
  await kubectl(['apply', '--filename', crds]);
  const crd = `crd/${workerPoolResource.plural}.${workerPoolResource.group}`;
  // A CRD that is a moment old has no conditions at all, and `kubectl wait` takes that for an error.
  await eventually(() => kubectl(['wait', '--for=condition=Established', crd]));
  const end = new AbortController();
  const sizes = createInformer<Size>({
    client: api.client,
    resource: resources.deployments,
    transform: toSize,
    clock: systemClock,
    log: silentLog,
    metrics: api.metrics,
  });
  const waiting = new Map<string, Set<(size: Size) => void>>();
  sizes.onChange(({ type, key, object }) => {
    if (type !== 'deleted') for (const see of waiting.get(key) ?? []) see(object);
  });
  const watching = sizes.run(end.signal);
  await sizes.synced(end.signal);

  const sized: Stage['sized'] = (key, wanted, timeoutMs = 60_000) =>
    new Promise((resolve, reject) => {
      const waiters = waiting.get(key) ?? new Set();
      waiting.set(key, waiters);
      const finish = (): void => {
        waiters.delete(see);
        clearTimeout(timer);
      };
      const see = (size: Size): void => {
        if (!wanted(size)) return;
        finish();
        resolve(performance.now());
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`Deployment ${key} did not get the size expected within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      waiters.add(see);
      const now = sizes.get(key);
      if (now !== undefined) see(now);
    });

  return {
    kubeconfigPath: api.cluster.kubeconfigPath,
    dir,
    client: api.client,
    redis: server.client(),
    brokerUrl: `${server.url}/0`,
    sizes,
    sized,
    async stop() {
      end.abort();
      await watching;
      await Promise.all([server.stop(), api.stop()]);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function toSize(raw: unknown): Size {
  const { metadata, spec } = raw as RawDeployment;
  return {
    metadata: { name: metadata.name ?? '', namespace: metadata.namespace ?? '' },
    replicas: spec?.replicas ?? 1,
    isPaused: spec?.paused ?? false,
  };
}
