/**
 * Reads everything that one look at a pool needs, from the caches and the broker's last readings. The only I/O is the
 * Secret, and that is remembered for a while. What cannot be known is carried as unknown, with the reason.
 */
import type { WorkerPool } from '../../api/v1alpha1/workerpool.ts';
import type { BrokerEndpoint } from '../../broker/endpoint.ts';
import type { BrokerSampler } from '../../broker/sampler.ts';
import { poolActivity } from '../../fleet/activity.ts';
import type { Fleet } from '../../fleet/fleet.ts';
import type { Informer } from '../../kube/informer.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { BrokerProblemReason } from '../../plan/facts.ts';
import { readPodFacts, type PodFacts } from '../../plan/podFacts.ts';
import { known, unknown, type Known } from '../../signals/known.ts';
import type { ActivityReading, PoolSample, QueueSample } from '../../signals/signals.ts';
import { resolveEndpoint, secretNames } from '../endpoints.ts';
import type { DeploymentRecord, PodRecord } from '../records.ts';
import type { PoolRouting, RoutingTable } from '../routing/table.ts';
import type { SecretReader } from '../secrets.ts';
import type { Subscriptions } from '../subscriptions.ts';

/** A reading older than this (ms) is not believed: three full reads have been missed. */
const readingMaxAgeMs = 30_000;

/** Where the facts come from. */
export interface GatherDeps {
  readonly deployments: Informer<DeploymentRecord>;
  readonly pods: Informer<PodRecord>;
  readonly secrets: SecretReader;
  readonly subscriptions: Subscriptions;
  readonly fleet: Fleet;
  readonly routing: RoutingTable;
  readonly clock: Clock;
}

/** The broker of a pool: connected to (or trying), or not known at all. */
export type ObservedBroker =
  | { readonly kind: 'ok'; readonly endpoint: BrokerEndpoint; readonly sampler: BrokerSampler }
  | { readonly kind: 'problem'; readonly reason: BrokerProblemReason; readonly message: string };

/** Everything that is known about a pool at one moment. */
export interface Observed {
  readonly pool: WorkerPool;
  readonly broker: ObservedBroker;
  readonly sample: PoolSample;
  /** When the newest of the queue readings was taken, on the monotonic clock; now, when there is none. */
  readonly readAtMs: number;
  /** Pods whose worker container runs but has not been heard of for too long. */
  readonly silentPods: readonly string[];
  /** What workers say that they cannot do, each once. */
  readonly workerProblems: readonly string[];
  readonly routing: PoolRouting | undefined;
  readonly pods: readonly PodRecord[];
  readonly podFacts: PodFacts;
  /** Tasks of a queue being executed, as the workers say. */
  readonly runningByQueue: (queue: string) => Known<number>;
  /** The Deployment of the pool's name, whoever owns it. */
  readonly deployment: DeploymentRecord | undefined;
  /** True when that Deployment belongs to something else. */
  readonly nameTaken: boolean;
}

/** Reads the facts about a pool. Throws when the API server could not be asked for a Secret. */
export async function gather(
  deps: GatherDeps,
  poolKey: string,
  pool: WorkerPool,
  signal: AbortSignal,
): Promise<Observed> {
  const broker = await gatherBroker(deps, poolKey, pool, signal);
  const pods = deps.pods.byIndex('pool', poolKey);
  const deployment = deps.deployments.get(poolKey);
  const podFacts = readPodFacts(pods, brokerSecrets(broker), deps.clock.now());
  const activity = gatherActivity(deps, poolKey, podFacts);
  return {
    pool,
    broker,
    sample: {
      ackMode: pool.spec.ackMode,
      queues: gatherQueues(deps, pool, broker),
      isCurrent: isCurrent(pool, broker, activity.changedAtMs),
      activity: activity.reading,
    },
    readAtMs: newestReadingMs(pool, broker) ?? deps.clock.monotonicMs(),
    silentPods: activity.silentPods,
    workerProblems: activity.problems,
    routing: deps.routing.get(poolKey),
    pods,
    podFacts,
    runningByQueue: activity.runningByQueue,
    deployment,
    nameTaken:
      deployment !== undefined &&
      !(deployment.metadata.ownerReferences ?? []).some((owner) => owner.uid === pool.metadata.uid),
  };
}

async function gatherBroker(
  deps: GatherDeps,
  poolKey: string,
  pool: WorkerPool,
  signal: AbortSignal,
): Promise<ObservedBroker> {
  // A Secret with which nothing works may have been mended: do not wait until its remembered value is old.
  const doubtSecrets = (): void => {
    for (const name of secretNames(pool)) deps.secrets.doubt(pool.metadata.namespace, name);
  };
  const resolved = await resolveEndpoint(pool, deps.secrets, signal);
  if (resolved.kind === 'problem') {
    doubtSecrets();
    deps.subscriptions.unsubscribe(poolKey);
    return resolved;
  }
  const queues = pool.spec.queues.map((queue) => queue.name);
  const sampler = deps.subscriptions.subscribe(poolKey, resolved.endpoint, queues);
  if (sampler.state().kind === 'failed') doubtSecrets();
  return { kind: 'ok', endpoint: resolved.endpoint, sampler };
}

function gatherQueues(deps: GatherDeps, pool: WorkerPool, broker: ObservedBroker): QueueSample[] {
  const nowMs = deps.clock.monotonicMs();
  return pool.spec.queues.map(({ name }) => {
    if (broker.kind === 'problem') return unread(name, broker.message);
    const { at, value } = broker.sampler.reading(name);
    const ageMs = nowMs - at;
    if (value.kind === 'unknown') return unread(name, value.why);
    if (ageMs > readingMaxAgeMs) return unread(name, `not read for more than ${readingMaxAgeMs / 1000} s`);
    return { name, ready: known(value.ready), unacked: value.kind === 'ok' ? known(value.held) : unknown(value.why) };
  });
}

function unread(name: string, why: string): QueueSample {
  return { name, ready: unknown(why), unacked: unknown(why) };
}

/**
 * Whether the readings of all queues hold what the broker holds now, as far as it announces changes, and were begun after
 * the workers last said something new. Only where tasks leave the broker as they start does it matter, and cost a read.
 */
function isCurrent({ spec }: WorkerPool, broker: ObservedBroker, changedAtMs: number): boolean {
  if (broker.kind !== 'ok') return false;
  const sinceMs = spec.ackMode === 'Early' ? changedAtMs : undefined;
  const readings = spec.queues.map(({ name }) => broker.sampler.reading(name, sinceMs));
  return readings.every((reading) => reading.isCurrent);
}

function newestReadingMs(pool: WorkerPool, broker: ObservedBroker): number | undefined {
  if (broker.kind === 'problem') return undefined;
  const times = pool.spec.queues.map(({ name }) => broker.sampler.reading(name).at).filter(Number.isFinite);
  return times.length === 0 ? undefined : Math.max(...times);
}

/** Texts that must not appear in a status: a worker that cannot connect likes to print its URL as its last words. */
function brokerSecrets(broker: ObservedBroker): string[] {
  if (broker.kind === 'problem') return [];
  const { url, redis } = broker.endpoint;
  return [url, redis.password].filter((text) => text !== undefined);
}

/** What the workers of a pool say. Pods whose worker does not run (not started, crashed) hold nothing and are not asked. */
function gatherActivity(deps: GatherDeps, poolKey: string, { workerRunning }: PodFacts): ObservedActivity {
  const expected = [...workerRunning].filter(([, isRunning]) => isRunning).map(([pod]) => pod);
  const reports = deps.fleet.reports(poolKey, expected);
  const activity = poolActivity(reports, expected, deps.clock.monotonicMs());
  const problems = [...new Set(reports.flatMap(({ extra }) => extra?.problems ?? []))].sort();
  if (activity.kind === 'unknown') {
    // Without the age that the activity's own sentence has: it would make every look a new status.
    const others = activity.silentPods.length > 1 ? ` and ${activity.silentPods.length - 1} more` : '';
    const why =
      deps.fleet.problem(poolKey) ?? `no heartbeat from the worker in pod ${activity.silentPods[0] ?? ''}${others}`;
    const { running, held, scheduled, changedAtMs } = activity.atLeast;
    return {
      reading: { kind: 'unknown', why, atLeast: { running, waitingInWorkers: held + scheduled } },
      silentPods: activity.silentPods,
      problems,
      // Of the heard ones: a task that one of them has just taken must not be counted in an older reading of its queue too.
      changedAtMs,
      runningByQueue: () => unknown(why),
    };
  }
  const { running, held, scheduled, byQueue, changedAtMs } = activity;
  return {
    reading: known({ running, waitingInWorkers: held + scheduled }),
    silentPods: [],
    problems,
    changedAtMs,
    runningByQueue: (queue) => known(byQueue[queue]?.running ?? 0),
  };
}

interface ObservedActivity {
  readonly reading: ActivityReading;
  readonly silentPods: readonly string[];
  readonly problems: readonly string[];
  readonly changedAtMs: number;
  readonly runningByQueue: (queue: string) => Known<number>;
}
