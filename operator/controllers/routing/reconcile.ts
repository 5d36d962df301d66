/**
 * One namespace's routing: gather (its pools and their brokers) → plan (one table per broker) → apply (ConfigMaps) →
 * publish (the facts that each pool's own reconciler reads). It also keeps the file that Celery pods load.
 *
 * A ConfigMap that the API server refuses (a quota, an admission policy) is the matter of the pools that need it: it is
 * said in their status, tried again, and holds up no other broker's table.
 *
 * A pool whose broker cannot be resolved now (its Secret is being rotated) keeps its place in the table that it was in:
 * dropping it would send its tasks to the default queue of every producer.
 */
import type { WorkerPool } from '../../api/v1alpha1/workerpool.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isKubeError, type KubeError } from '../../kube/errors.ts';
import type { Informer } from '../../kube/informer.ts';
import { resources } from '../../kube/types.ts';
import { buildRoutesConfigMap, buildWorkerFileConfigMap, routesConfigMapName } from '../../plan/configmap.ts';
import { buildRoutes } from '../../plan/routing.ts';
import type { Result } from '../../runtime/controller.ts';
import { resolveEndpoint, type ResolvedEndpoint } from '../endpoints.ts';
import { intentAnnotation, type ConfigMapRecord } from '../records.ts';
import type { SecretReader } from '../secrets.ts';
import { intentHash } from '../intent.ts';
import type { PoolRouting, RoutingTable } from './table.ts';

/** The field manager of the ConfigMaps. */
const fieldManager = 'muster-routing';

/** What the routing reconciler works with. */
export interface RoutingDeps {
  readonly client: KubeClient;
  readonly pools: Informer<WorkerPool>;
  readonly configMaps: Informer<ConfigMapRecord>;
  readonly secrets: SecretReader;
  readonly table: RoutingTable;
  /** The text of `muster_worker.py`. */
  readonly workerFile: string;
  /** Asked to look at a pool again, because its routing facts changed. */
  readonly enqueuePool: (poolKey: string) => void;
}

/** Builds the reconcile function; its key is a namespace. */
export function createRoutingReconcile(
  deps: RoutingDeps,
): (namespace: string, context: { signal: AbortSignal }) => Promise<Result> {
  /** Resource versions after our own last writes, or as found first: another one means that somebody else changed it. */
  const written = new Map<string, string>();
  return async (namespace, { signal }) => {
    const pools = deps.pools
      .byIndex('namespace', namespace)
      .filter((pool) => pool.metadata.deletionTimestamp === undefined);
    const { byHash, unresolved } = await gather(deps, pools, signal);
    const facts = new Map<string, PoolRouting>();
    const used = new Set<string>();
    const refusals: KubeError[] = [];
    const write = async (body: ConfigMapBody): Promise<KubeError | undefined> => {
      used.add(body.metadata.name);
      const refusal = await applyIfChanged(deps, written, body, signal);
      if (refusal !== undefined) refusals.push(refusal);
      return refusal;
    };
    const workerFile = buildWorkerFileConfigMap(namespace, pools, deps.workerFile);
    const fileRefusal = pools.length === 0 ? undefined : await write(workerFile);
    for (const [hash, members] of byHash) {
      const routes = buildRoutes(members);
      const routesConfigMap = routesConfigMapName(hash);
      const refusal = (await write(buildRoutesConfigMap(namespace, hash, members, routes))) ?? fileRefusal;
      const name = refusal === undefined || refusal !== fileRefusal ? routesConfigMap : workerFile.metadata.name;
      for (const pool of members) {
        facts.set(`${namespace}/${pool.metadata.name}`, {
          routesConfigMap,
          conflicts: routes.conflicts.get(pool.metadata.name) ?? [],
          ...(refusal === undefined
            ? {}
            : { problem: `ConfigMap ${name} in namespace ${namespace} cannot be written: ${refusal.message}` }),
        });
      }
    }
    // What pods mount until they roll is kept while that which they are to mount then cannot be made.
    if (refusals.length === 0) await deleteUnused(deps, namespace, used, signal);
    for (const key of deps.table.replace(namespace, facts)) deps.enqueuePool(key);
    // After everybody was told: the controller tries again, less and less often.
    if (refusals[0] !== undefined) throw refusals[0];
    return unresolved ? { kind: 'requeueAfter', ms: 2000, why: 'a broker Secret is missing' } : { kind: 'done' };
  };
}

/** Each broker is resolved once, however many pools name it: a namespace of a thousand pools has a handful of them. */
async function gather(
  deps: RoutingDeps,
  pools: readonly WorkerPool[],
  signal: AbortSignal,
): Promise<{ byHash: Map<string, WorkerPool[]>; unresolved: boolean }> {
  const endpoints = new Map<string, Promise<ResolvedEndpoint>>();
  const resolve = (pool: WorkerPool): Promise<ResolvedEndpoint> => {
    const broker = JSON.stringify(pool.spec.broker);
    const endpoint = endpoints.get(broker) ?? resolveEndpoint(pool, deps.secrets, signal);
    endpoints.set(broker, endpoint);
    return endpoint;
  };
  const byHash = new Map<string, WorkerPool[]>();
  let unresolved = false;
  const resolved = await Promise.all(pools.map(resolve));
  pools.forEach((pool, index) => {
    const endpoint = resolved[index];
    if (endpoint?.kind !== 'ok') unresolved = true;
    const hash = endpoint?.kind === 'ok' ? endpoint.endpoint.hash : lastHash(deps, pool);
    if (hash === undefined) return;
    const members = byHash.get(hash);
    if (members === undefined) byHash.set(hash, [pool]);
    else members.push(pool);
  });
  return { byHash, unresolved };
}

/** The broker that a pool belonged to, as the owner references of the routes ConfigMaps tell. */
function lastHash(deps: RoutingDeps, pool: WorkerPool): string | undefined {
  const { namespace, uid } = pool.metadata;
  const owned = deps.configMaps
    .byIndex('namespace', namespace)
    .find(
      ({ metadata }) =>
        metadata.name.startsWith(routesConfigMapName('')) &&
        metadata.ownerReferences?.some((owner) => owner.uid === uid),
    );
  return owned?.metadata.name.slice(routesConfigMapName('').length);
}

type ConfigMapBody = ReturnType<typeof buildWorkerFileConfigMap>;

/**
 * Writes a ConfigMap unless what is there carries the hash of the same intent and nobody touched it since. Gives the refusal
 * that a person has to mend, if it is one.
 */
async function applyIfChanged(
  deps: RoutingDeps,
  written: Map<string, string>,
  body: ConfigMapBody,
  signal: AbortSignal,
): Promise<KubeError | undefined> {
  const hash = intentHash(body);
  const key = `${body.metadata.namespace}/${body.metadata.name}`;
  const existing = deps.configMaps.get(key)?.metadata;
  if (existing?.annotations?.[intentAnnotation] === hash) {
    // Found before this process wrote it: taken for its own, or edits would never be put back after a restart.
    if (!written.has(key) && existing.resourceVersion !== undefined) written.set(key, existing.resourceVersion);
    if (written.get(key) === existing.resourceVersion) return undefined;
  }
  const metadata = { ...body.metadata, annotations: { ...body.metadata.annotations, [intentAnnotation]: hash } };
  try {
    const wanted = { ...body, metadata };
    const applied = await deps.client.apply<ConfigMapRecord>(resources.configMaps, wanted, { fieldManager, signal });
    if (applied.metadata.resourceVersion !== undefined) written.set(key, applied.metadata.resourceVersion);
    return undefined;
  } catch (err) {
    if (isKubeError(err, 'forbidden', 'invalid', 'badRequest')) return err;
    throw err;
  }
}

/** Deletes the routes ConfigMaps of brokers that no pool of the namespace uses any more. */
async function deleteUnused(
  deps: RoutingDeps,
  namespace: string,
  used: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  if (used.size === 0) return; // The last pool is gone: the garbage collector takes them, by their owner references.
  for (const { metadata } of deps.configMaps.byIndex('namespace', namespace)) {
    if (used.has(metadata.name) || !metadata.name.startsWith(routesConfigMapName(''))) continue;
    await deps.client.delete(resources.configMaps, namespace, metadata.name, { signal });
  }
}
