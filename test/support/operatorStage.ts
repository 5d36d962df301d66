/**
 * Where tests of the whole operator play: a real control plane with the CRD, a real Redis, the operator as a process of
 * its own, and a namespace for each test. Nothing here knows how the operator works; it applies pools and looks.
 */
import { fileURLToPath } from 'node:url';
import { workerPoolResource, type WorkerPool, type WorkerPoolStatus } from '../../operator/api/v1alpha1/workerpool.ts';
import { orUndefined } from '../../operator/kube/errors.ts';
import { createInformer } from '../../operator/kube/informer.ts';
import {
  resources,
  type KubeObject,
  type RawDeployment,
  type RawPod,
  type Resource,
} from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { startApiServer, type TestApiServer } from './apiServer.ts';
import { makePool, type PoolBuilder } from './builders.ts';
import { eventually } from './eventually.ts';
import { makeKubectl, type Kubectl } from './kubectl.ts';
import { startOperator, type OperatorProcess } from './operator.ts';
import { startRedis, type RedisServer } from './redisServer.ts';
import { silentLog } from './silentLog.ts';

const crds = fileURLToPath(new URL('../../crds', import.meta.url));

/** An event about a pool. */
export interface PoolEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly about: string;
}

/** A namespace of a test's own. */
export interface Stall {
  readonly namespace: string;
  /** Starts a pool here that consumes from the stage's Redis. */
  pool(name: string): PoolBuilder;
  /** Applies it, and with `settle` waits until the operator has made what it should. */
  apply(pool: PoolBuilder, settle?: 'settle'): Promise<void>;
  /** Merges fields into a pool's spec; null removes one. */
  patch(name: string, spec: object): Promise<void>;
  delete(name: string): Promise<void>;
  get(name: string): Promise<WorkerPool>;
  status(name: string): Promise<WorkerPoolStatus>;
  /** `status/reason: message` of a condition; empty when the pool has none of that type. */
  condition(name: string, type: string): Promise<string>;
  deployment(name: string): Promise<RawDeployment | undefined>;
  /** What its Deployment asks for; undefined without one. */
  replicas(name: string): Promise<number | undefined>;
  /** Its pods, by name. */
  pods(name: string): Promise<RawPod[]>;
  /** What was reported about the pools here, oldest first. */
  events(): Promise<PoolEvent[]>;
  /** Shows every state that objects of a kind go through here, from now on; resolves to what ends it. */
  watch<T extends KubeObject>(resource: Resource, see: (object: T) => void): Promise<() => Promise<void>>;
  /** Makes or replaces a Secret with one key, `url` unless said otherwise. */
  secret(name: string, value: string, key?: string): Promise<void>;
  /** Puts tasks, which nobody will run, into a queue. */
  push(queue: string, count?: number): Promise<void>;
}

/** Everything that runs. */
export interface Stage {
  readonly api: TestApiServer;
  readonly kubectl: Kubectl;
  readonly redis: RedisServer;
  /** The one that runs now. */
  readonly operator: OperatorProcess;
  stall(): Promise<Stall>;
  /** Ends the operator, unless it has ended, and starts it again. */
  restartOperator(args?: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

/** Starts everything: call it in `before`, and `stop` in `after`. */
export async function startStage(args: readonly string[] = []): Promise<Stage> {
  const [api, redis] = await Promise.all([startApiServer(), startRedis()]);
  const kubectl = await makeKubectl(api.cluster.kubeconfigPath);
  await kubectl(['apply', '--filename', crds]);
  const crd = `crd/${workerPoolResource.plural}.${workerPoolResource.group}`;
  // In the first moments there are no conditions to wait for, which kubectl takes for an error.
  await eventually(() => kubectl(['wait', '--for=condition=Established', crd]));
  const start = (more: readonly string[]): Promise<OperatorProcess> =>
    startOperator({ kubeconfig: api.cluster.kubeconfigPath, args: more });
  let operator = await start(args);
  const watches: (() => Promise<void>)[] = [];
  return {
    api,
    kubectl,
    redis,
    get operator() {
      return operator;
    },
    stall: async () => makeStall(api, redis, await api.namespace(), watches),
    async restartOperator(more = args) {
      await operator.stop();
      operator = await start(more);
    },
    async stop() {
      await operator.stop();
      await Promise.all(watches.map((end) => end()));
      await redis.stop();
      await api.stop();
    },
  };
}

function makeStall(
  { client, metrics }: TestApiServer,
  redis: RedisServer,
  namespace: string,
  watches: (() => Promise<void>)[],
): Stall {
  const get = (name: string): Promise<WorkerPool> => client.get<WorkerPool>(workerPoolResource, namespace, name);
  const status = async (name: string): Promise<WorkerPoolStatus> => (await get(name)).status ?? {};
  const deployment = (name: string): Promise<RawDeployment | undefined> =>
    orUndefined(client.get<RawDeployment>(resources.deployments, namespace, name));
  return {
    namespace,
    pool: (name) =>
      makePool(name)
        .namespace(namespace)
        .broker({ url: `${redis.url}/0` })
        .queue(`${namespace}-${name}`),
    async apply(pool, settle) {
      const manifest = pool.manifest();
      await client.apply(workerPoolResource, manifest, { fieldManager: 'user' });
      if (settle === undefined) return;
      const { name } = manifest.metadata;
      await eventually(async () => {
        const made = await deployment(name);
        if (made === undefined || made.spec?.paused === true) return false;
        return (await status(name)).conditions?.some((each) => each.reason === 'Connected') ?? false;
      });
    },
    patch: async (name, spec) => {
      await client.mergePatch(workerPoolResource, namespace, name, { spec }, { fieldManager: 'user' });
    },
    delete: (name) => client.delete(workerPoolResource, namespace, name),
    get,
    status,
    async condition(name, type) {
      const found = (await status(name)).conditions?.find((each) => each.type === type);
      return found === undefined ? '' : `${found.status}/${found.reason}: ${found.message}`;
    },
    deployment,
    replicas: async (name) => (await deployment(name))?.spec?.replicas,
    async pods(name) {
      const labelSelector = `muster.dev/pool=${name}`;
      const { items } = await client.list<RawPod>(resources.pods, { namespace, labelSelector });
      return items;
    },
    async events() {
      const { items } = await client.list<RawEvent>(resources.events, { namespace });
      return items
        .filter(({ regarding }) => regarding?.kind === 'WorkerPool')
        .sort((a, b) => ((a.eventTime ?? '') < (b.eventTime ?? '') ? -1 : 1))
        .map(({ type, reason, note, regarding }) => ({ type, reason, note, about: regarding?.name ?? '' }));
    },
    async watch<T extends KubeObject>(resource: Resource, see: (object: T) => void) {
      const stop = new AbortController();
      const transform = (raw: unknown): T => raw as T;
      const informer = createInformer<T>({
        ...{ client, resource, namespace, transform, metrics },
        clock: systemClock,
        log: silentLog,
      });
      informer.onChange(({ object }) => see(object));
      const running = informer.run(stop.signal);
      const end = (): Promise<void> => {
        stop.abort();
        return running;
      };
      watches.push(end);
      await informer.synced();
      return end;
    },
    async secret(name, value, key = 'url') {
      const data = { [key]: Buffer.from(value).toString('base64') };
      const secret = { metadata: { namespace, name }, data };
      await client.apply(resources.secrets, secret, { fieldManager: 'user' });
    },
    async push(queue, count = 1) {
      await redis.command('LPUSH', queue, ...Array.from({ length: count }, () => '{}'));
    },
  };
}

interface RawEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly eventTime?: string;
  readonly regarding?: { readonly kind?: string; readonly name?: string };
}
