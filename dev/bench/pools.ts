/**
 * The pools that are measured: each with one queue and one route, all on one broker whose URL is in a Secret, spread
 * over namespaces, at zero until something is put into their queue.
 */
import { workerPoolResource } from '../../operator/api/v1alpha1/workerpool.ts';
import { resources } from '../../operator/kube/types.ts';
import { eventually } from '../../test/support/eventually.ts';
import type { Stage } from './stage.ts';

/** Requests to the API server that are made at once. */
const parallel = 12;
const secretName = 'broker';

/** A pool. */
export interface Pool {
  readonly namespace: string;
  readonly name: string;
  /** `namespace/name`. */
  readonly key: string;
  readonly queue: string;
}

/** Names so many pools, in turn over the namespaces. */
export function namePools(count: number, namespaces: number): Pool[] {
  return Array.from({ length: count }, (_, index) => {
    const namespace = `team-${index % namespaces}`;
    const name = `pool-${index}`;
    return { namespace, name, key: `${namespace}/${name}`, queue: `${namespace}.${name}` };
  });
}

/** Creates the namespaces, each with the Secret of the broker. */
export async function createNamespaces({ client, brokerUrl }: Stage, pools: readonly Pool[]): Promise<void> {
  await inParallel([...new Set(pools.map(({ namespace }) => namespace))], async (namespace) => {
    await client.create(resources.namespaces, undefined, { metadata: { name: namespace } });
    const data = { url: Buffer.from(brokerUrl).toString('base64') };
    await client.create(resources.secrets, namespace, { metadata: { name: secretName, namespace }, data });
  });
}

/** Creates the pools, as fast as the API server takes them. */
export async function createPools({ client }: Stage, pools: readonly Pool[]): Promise<void> {
  await inParallel(pools, ({ namespace, name, queue }) =>
    client.create(workerPoolResource, namespace, {
      metadata: { name, namespace },
      spec: {
        broker: { urlFrom: { secretKeyRef: { name: secretName, key: 'url' } } },
        queues: [{ name: queue, tasks: [`shop.${name}.*`] }],
        runtime: { celery: { app: 'shop.celery:app' } },
        concurrency: 1,
        scaling: { minReplicas: 0, maxReplicas: 20, idleSeconds: 0 },
        template: {
          spec: {
            containers: [
              {
                name: 'worker',
                image: 'registry.invalid/shop:1',
                env: [{ name: 'LOG_LEVEL', value: 'info' }],
                resources: { requests: { cpu: '10m', memory: '64Mi' } },
              },
            ],
          },
        },
      },
    }),
  );
}

/** Resolves when every pool has a Deployment that is let go, at zero. */
export async function untilAllAtZero({ sizes }: Stage, pools: readonly Pool[], timeoutMs: number): Promise<void> {
  const isAtZero = ({ key }: Pool): boolean => {
    const size = sizes.get(key);
    return size?.isPaused === false && size.replicas === 0;
  };
  await eventually(
    () => {
      const missing = pools.filter((pool) => !isAtZero(pool));
      if (missing.length > 0)
        throw new Error(`${missing.length} pools are not at zero, ${missing[0]?.key ?? ''} is one`);
    },
    { timeoutMs, intervalMs: 100 },
  );
}

/** Empties the pools' queues and waits until the operator has taken their pods away. */
export async function emptyPools(stage: Stage, pools: readonly Pool[]): Promise<void> {
  await inParallel(pools, ({ queue }) => stage.redis.del(queue));
  await untilAllAtZero(stage, pools, 120_000);
}

/** Calls `work` for each item, some at a time. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}
