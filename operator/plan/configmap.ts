/** The ConfigMaps that the pools of a namespace share: the file that Celery pods load, and the routing tables. Pure. */
import type { WorkerPool } from '../api/v1alpha1/workerpool.ts';
import type { ObjectMeta } from '../kube/types.ts';
import {
  commonLabels,
  ownerReference,
  routesConfigMapName,
  routesKey,
  workerFileConfigMapName,
  workerFileKey,
} from './names.ts';
import type { Routes } from './routing.ts';

export { routesConfigMapName } from './names.ts';

/** A ConfigMap as it is applied. */
export interface ConfigMapBody {
  readonly apiVersion: 'v1';
  readonly kind: 'ConfigMap';
  readonly metadata: ObjectMeta & { readonly name: string; readonly namespace: string };
  readonly data: Readonly<Record<string, string>>;
}

/**
 * The ConfigMap with the file that Celery pods load.
 * @param pools every pool of the namespace; each owns the ConfigMap, so that it goes with the last one
 */
export function buildWorkerFileConfigMap(
  namespace: string,
  pools: readonly WorkerPool[],
  workerFile: string,
): ConfigMapBody {
  return build(namespace, workerFileConfigMapName, pools, { [workerFileKey]: workerFile });
}

/** The ConfigMap with the routing table of one broker. Producers mount it by this name as well. */
export function buildRoutesConfigMap(
  namespace: string,
  brokerHash: string,
  pools: readonly WorkerPool[],
  routes: Routes,
): ConfigMapBody {
  return build(namespace, routesConfigMapName(brokerHash), pools, { [routesKey]: routes.json });
}

function build(
  namespace: string,
  name: string,
  pools: readonly WorkerPool[],
  data: Readonly<Record<string, string>>,
): ConfigMapBody {
  const owners = [...pools].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name,
      namespace,
      labels: { ...commonLabels },
      ownerReferences: owners.map((pool) => ownerReference(pool, false)),
    },
    data,
  };
}
