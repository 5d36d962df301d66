/** The environment variables by which a worker container learns what its pool says. Pure. */
import { prefetchMultiplier, queueNames } from '../api/v1alpha1/defaults.ts';
import { nodeWorkerSettings } from '../api/v1alpha1/template.ts';
import type { WorkerPool, WorkerPoolSpec } from '../api/v1alpha1/workerpool.ts';
import type { RawContainer } from '../kube/types.ts';
import { escapeDollars } from './command.ts';
import { paths } from './names.ts';

/** One environment variable of a container. */
export type EnvVar = NonNullable<RawContainer['env']>[number];

/** Everything that Muster sets, in a fixed order. */
export function buildEnvironment(pool: WorkerPool): EnvVar[] {
  const { spec, metadata } = pool;
  const { broker } = spec;
  const multiplier = prefetchMultiplier(spec);
  return [
    { name: 'POD_NAME', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } } },
    { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } } },
    brokerUrl(spec),
    text('MUSTER_POOL', `${metadata.namespace}/${metadata.name}`),
    text('MUSTER_QUEUES', queueNames(spec).join(',')),
    text('MUSTER_CONCURRENCY', spec.concurrency),
    text('MUSTER_PREFETCH_POLICY', spec.prefetch.policy),
    ...optional('MUSTER_PREFETCH_MULTIPLIER', multiplier),
    text('MUSTER_ACK_MODE', spec.ackMode),
    ...optional('MUSTER_VISIBILITY_TIMEOUT_SECONDS', broker.visibilityTimeoutSeconds),
    ...optional('MUSTER_KEY_PREFIX', broker.keyPrefix),
    ...optional('MUSTER_PRIORITY_STEPS', broker.prioritySteps?.join(',')),
    ...optional('MUSTER_BROKER_CA_FILE', broker.tls?.caFrom === undefined ? undefined : paths.caFile),
    text('MUSTER_ROUTES_FILE', paths.routesFile),
    text('MUSTER_LONGEST_TASK_SECONDS', spec.longestTaskSeconds),
  ];
}

const settable: ReadonlySet<string> = new Set(nodeWorkerSettings);

/**
 * Muster's variables, then the user's, which may therefore refer to them. A variable that Muster sets is Muster's: two
 * values for one name would make the API server refuse the Deployment, and a broker URL other than the pool's would
 * let workers consume where nobody looks. (The rules of the resource refuse both with a sentence.)
 */
export function mergeEnvironment(ours: readonly EnvVar[], users: readonly EnvVar[]): EnvVar[] {
  const taken = new Set(ours.map(({ name }) => name));
  const isUsers = (name: string): boolean => !name.startsWith('MUSTER_') || settable.has(name);
  return [...ours, ...users.filter(({ name }) => !taken.has(name) && isUsers(name))];
}

/** Celery reads its variable before any configuration of the app; the Node worker has one of its own. */
function brokerUrl({ broker, runtime }: WorkerPoolSpec): EnvVar {
  const name = runtime.node === undefined ? 'CELERY_BROKER_URL' : 'MUSTER_BROKER';
  if (broker.urlFrom !== undefined) {
    const { secretKeyRef } = broker.urlFrom;
    return { name, valueFrom: { secretKeyRef: { name: secretKeyRef.name, key: secretKeyRef.key } } };
  }
  return text(name, broker.url ?? '');
}

function text(name: string, value: string | number): EnvVar {
  return { name, value: escapeDollars(String(value)) };
}

function optional(name: string, value: string | number | undefined): EnvVar[] {
  return value === undefined ? [] : [text(name, value)];
}
