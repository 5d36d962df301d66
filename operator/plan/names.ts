/** Names, labels and paths of the objects that a pool is made of. They are read by people, dashboards and selectors. */
import { workerPoolApiVersion, workerPoolResource, type WorkerPool } from '../api/v1alpha1/workerpool.ts';
import type { OwnerReference } from '../kube/types.ts';

/** The label that ties every object of a pool to it; the only one in the selector of its Deployment. */
export const poolLabel = 'muster.dev/pool';
/** The ConfigMap with the file that Celery pods load, one per namespace. */
export const workerFileConfigMapName = 'muster-worker-file';
/** Its key. */
export const workerFileKey = 'muster_worker.py';
/** The key of the routing table in its ConfigMap. */
export const routesKey = 'routes.json';

/** Where a worker container finds the files of Muster. */
export const paths = {
  worker: '/muster/worker',
  routes: '/muster/routes',
  tls: '/muster/tls',
  caFile: '/muster/tls/ca.crt',
  routesFile: `/muster/routes/${routesKey}`,
} as const;

/** The port on which a Node worker answers probes and scrapes. */
export const nodeWorkerPort = 8080;

/** The ConfigMap with the routing table of a broker. The hash must not tell credentials. */
export function routesConfigMapName(brokerHash: string): string {
  return `muster-routes-${brokerHash}`;
}

/** The labels of everything that Muster makes. */
export const commonLabels: Readonly<Record<string, string>> = {
  'app.kubernetes.io/name': 'muster-worker',
  'app.kubernetes.io/managed-by': 'muster',
};

/** The labels of what belongs to one pool. */
export function poolLabels(pool: WorkerPool): Record<string, string> {
  const { name } = pool.metadata;
  return { ...commonLabels, 'app.kubernetes.io/instance': name, [poolLabel]: name };
}

/** The label selector of a pool's pods, as text. */
export function poolSelector(pool: WorkerPool): string {
  return `${poolLabel}=${pool.metadata.name}`;
}

/**
 * The reference that makes the garbage collector delete an object with its pool.
 * @param isController true for what belongs to this pool alone; false where pools share it
 */
export function ownerReference(pool: WorkerPool, isController: boolean): OwnerReference {
  return {
    apiVersion: workerPoolApiVersion,
    kind: workerPoolResource.kind,
    name: pool.metadata.name,
    uid: pool.metadata.uid,
    ...(isController ? { controller: true, blockOwnerDeletion: true } : {}),
  };
}
