// Builders of the objects that tests are about. A test says only what it is about; everything else is a valid default.
// Each call returns a new builder, so that a table can start every row from a common one.
import {
  workerPoolApiVersion,
  workerPoolSchema,
  type WorkerPool,
  type WorkerPoolSpecInput,
  type WorkerPoolStatus,
} from '../../operator/api/v1alpha1/workerpool.ts';

type Broker = NonNullable<WorkerPoolSpecInput['broker']>;
type Scaling = NonNullable<WorkerPoolSpecInput['scaling']>;
type Prefetch = NonNullable<WorkerPoolSpecInput['prefetch']>;
type Container = NonNullable<NonNullable<NonNullable<WorkerPoolSpecInput['template']>['spec']>['containers']>[number];

/** A WorkerPool as a user writes it, before the API server has filled in anything. */
export interface PoolManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: WorkerPoolSpecInput;
}

interface State {
  readonly metadata: WorkerPool['metadata'];
  readonly spec: WorkerPoolSpecInput;
  readonly status?: WorkerPoolStatus;
}

/** Builds a pool step by step; `obj()` ends it. */
export interface PoolBuilder {
  namespace(name: string): PoolBuilder;
  uid(uid: string): PoolBuilder;
  generation(generation: number): PoolBuilder;
  /** `creationTimestamp`, RFC 3339. */
  created(at: string): PoolBuilder;
  /** Adds a queue. Without any, the pool consumes `celery`. */
  queue(name: string, ...tasks: string[]): PoolBuilder;
  broker(broker: Broker): PoolBuilder;
  app(app: string, pool?: 'prefork' | 'threads' | 'solo' | 'gevent'): PoolBuilder;
  node(tasks: string): PoolBuilder;
  custom(): PoolBuilder;
  concurrency(slots: number): PoolBuilder;
  prefetch(policy: NonNullable<Prefetch['policy']>, multiplier?: number): PoolBuilder;
  ack(mode: 'Early' | 'Late'): PoolBuilder;
  longest(seconds: number): PoolBuilder;
  min(replicas: number): PoolBuilder;
  max(replicas: number): PoolBuilder;
  scaling(scaling: Scaling): PoolBuilder;
  /** `spec.replicas`: a fixed size. */
  fixed(replicas: number): PoolBuilder;
  /** Merges fields into the container `worker`. */
  worker(fields: Partial<Container>): PoolBuilder;
  /** Replaces the whole template. */
  template(template: NonNullable<WorkerPoolSpecInput['template']>): PoolBuilder;
  /** Replaces parts of `spec` by what may well be invalid. */
  spec(parts: Readonly<Record<string, unknown>>): PoolBuilder;
  status(status: WorkerPoolStatus): PoolBuilder;
  /** The pool as the operator has it: complete, defaults filled in. Throws when it is not a valid one. */
  obj(): WorkerPool;
  /** The pool as a user would write it. */
  manifest(): PoolManifest;
}

/** Starts a pool: Redis at `redis:6379/0`, queue `celery`, app `shop.celery:app`, image `shop:1`. */
export function makePool(name = 'a'): PoolBuilder {
  return builder({
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-${name}`,
      generation: 1,
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: {
      broker: { url: 'redis://redis:6379/0' },
      runtime: { celery: { app: 'shop.celery:app' } },
      template: { spec: { containers: [{ name: 'worker', image: 'shop:1' }] } },
    },
  });
}

function builder(state: State): PoolBuilder {
  const { metadata, spec } = state;
  const withMeta = (parts: Partial<WorkerPool['metadata']>): PoolBuilder =>
    builder({ ...state, metadata: { ...metadata, ...parts } });
  const withSpec = (parts: WorkerPoolSpecInput): PoolBuilder => builder({ ...state, spec: { ...spec, ...parts } });
  const withScaling = (parts: Scaling): PoolBuilder => withSpec({ scaling: { ...spec.scaling, ...parts } });
  const complete = (): WorkerPoolSpecInput => ({ ...spec, queues: spec.queues ?? [{ name: 'celery' }] });
  return {
    namespace: (namespace) => withMeta({ namespace }),
    uid: (uid) => withMeta({ uid }),
    generation: (generation) => withMeta({ generation }),
    created: (creationTimestamp) => withMeta({ creationTimestamp }),
    queue: (name, ...tasks) =>
      withSpec({ queues: [...(spec.queues ?? []), { name, ...(tasks.length === 0 ? {} : { tasks }) }] }),
    broker: (broker) => withSpec({ broker }),
    app: (app, pool) => withSpec({ runtime: { celery: { app, ...(pool === undefined ? {} : { pool }) } } }),
    node: (tasks) => withSpec({ runtime: { node: { tasks } } }),
    custom: () => withSpec({ runtime: { custom: {} } }),
    concurrency: (concurrency) => withSpec({ concurrency }),
    prefetch: (policy, multiplier) =>
      withSpec({ prefetch: { policy, ...(multiplier === undefined ? {} : { multiplier }) } }),
    ack: (ackMode) => withSpec({ ackMode }),
    longest: (longestTaskSeconds) => withSpec({ longestTaskSeconds }),
    min: (minReplicas) => withScaling({ minReplicas }),
    max: (maxReplicas) => withScaling({ maxReplicas }),
    scaling: withScaling,
    fixed: (replicas) => withSpec({ replicas }),
    worker: (fields) => {
      const pod = spec.template?.spec;
      const containers = (pod?.containers ?? []).map((container) =>
        container.name === 'worker' ? { ...container, ...fields } : container,
      );
      return withSpec({ template: { ...spec.template, spec: { ...pod, containers } } });
    },
    template: (template) => withSpec({ template }),
    spec: (parts) => builder({ ...state, spec: { ...spec, ...parts } }),
    status: (status) => builder({ ...state, status }),
    obj: () =>
      workerPoolSchema.parse({ apiVersion: workerPoolApiVersion, kind: 'WorkerPool', ...state, spec: complete() }),
    manifest: () => ({
      apiVersion: workerPoolApiVersion,
      kind: 'WorkerPool',
      metadata: { name: metadata.name, namespace: metadata.namespace },
      spec: complete(),
    }),
  };
}
