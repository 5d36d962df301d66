/**
 * What makes the operator look at a pool: a change of the pool, of its Deployment or of one of its pods. (Queues,
 * workers and routing report through `subscriptions` and the routing table.) A change never carries anything but a key.
 */
import type { WorkerPool } from '../../api/v1alpha1/workerpool.ts';
import type { Informer } from '../../kube/informer.ts';
import { initialPriority, type WorkQueue } from '../../runtime/workqueue.ts';
import { poolLabel } from '../../plan/names.ts';
import type { ConfigMapRecord, DeploymentRecord, PodRecord } from '../records.ts';

/** The caches and queues of the two controllers. */
export interface Watches {
  readonly pools: Informer<WorkerPool>;
  readonly deployments: Informer<DeploymentRecord>;
  readonly pods: Informer<PodRecord>;
  readonly configMaps: Informer<ConfigMapRecord>;
  /** Keys: `namespace/name` of a pool. */
  readonly poolQueue: WorkQueue;
  /** Keys: namespaces. */
  readonly routingQueue: WorkQueue;
}

/** The most (ms) that a change waits for others before the routing of a namespace is made anew; a millisecond a pool. */
const longestRoutingWaitMs = 1_000;

/** Connects the caches to the queues. To be called once, before the caches run. */
export function watchPools({ pools, deployments, pods, configMaps, poolQueue, routingQueue }: Watches): void {
  // Pools come in flocks, and a table that names a thousand owners is dear to write: it waits a moment for the others.
  const routeSoon = (namespace: string): void =>
    routingQueue.addAfter(namespace, Math.min(longestRoutingWaitMs, pools.byIndex('namespace', namespace).length));
  pools.onChange(({ type, key, object, old, initial }) => {
    // A write of our own status is not a reason to look again: only what the user says is.
    const isOwnEcho =
      type === 'updated' &&
      old.metadata.generation === object.metadata.generation &&
      object.metadata.deletionTimestamp === undefined;
    if (isOwnEcho) return;
    // After a restart of the operator thousands of pools are looked at anew; what users change meanwhile goes first.
    const options = initial ? { priority: initialPriority } : {};
    poolQueue.add(key, options);
    if (initial) routingQueue.add(object.metadata.namespace, options);
    else routeSoon(object.metadata.namespace);
  });
  // Every Deployment, not only Muster's: a pool whose name is taken mends when the other one goes.
  deployments.onChange(({ key }) => {
    if (pools.get(key) !== undefined) poolQueue.add(key);
  });
  pods.onChange(({ object }) => {
    for (const key of podIndex(object)) poolQueue.add(key);
  });
  configMaps.onChange(({ object, initial }) => {
    if (!initial) routeSoon(object.metadata.namespace);
  });
}

/** Asks for a look at every pool, as after a start. */
export function requeuePools({
  pools,
  poolQueue,
  routingQueue,
}: Pick<Watches, 'pools' | 'poolQueue' | 'routingQueue'>): void {
  for (const { metadata } of pools.list()) {
    poolQueue.add(`${metadata.namespace}/${metadata.name}`, { priority: initialPriority });
    routingQueue.add(metadata.namespace, { priority: initialPriority });
  }
}

/** The index by which a pool's pods are found: the key of their pool. */
export function podIndex(pod: PodRecord): string[] {
  const pool = pod.metadata.labels?.[poolLabel];
  return pool === undefined ? [] : [`${pod.metadata.namespace}/${pool}`];
}

/** The index by which a namespace's objects are found. */
export function namespaceIndex({
  metadata,
}: {
  readonly metadata: { readonly namespace?: string | undefined };
}): string[] {
  return [metadata.namespace ?? ''];
}
