/**
 * Says what was found: gathers the facts for the pure builder, and writes its status when it differs from the one
 * written last. A change that somebody waits for (a condition, a decision, a size) is written at once; counts of tasks,
 * which change all the time in a busy pool, every few seconds.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  workerPoolApiVersion,
  workerPoolResource,
  type Condition,
  type LastDecision,
  type WorkerPool,
  type WorkerPoolStatus,
} from '../../api/v1alpha1/workerpool.ts';
import { formatTime } from '../../api/v1alpha1/conditions.ts';
import { tasksPerReplica } from '../../api/v1alpha1/defaults.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { EventRecorder } from '../../kube/events.ts';
import type { DeploymentProblem, StatusFacts } from '../../plan/facts.ts';
import { buildStatus } from '../../plan/status.ts';
import type { PodFacts } from '../../plan/podFacts.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ReconcileContext } from '../../runtime/controller.ts';
import type { Decision } from '../../scaling/decide.ts';
import type { Known } from '../../signals/known.ts';
import { heldOf, type Signals } from '../../signals/signals.ts';
import * as events from './events.ts';
import type { Observed } from './gather.ts';
import type { PoolMemory, Scaled } from './memory.ts';

const statusManager = 'muster-status';

/** The least time (ms) between two writes that change nothing but counts and the wording of messages. */
const countsIntervalMs = 5_000;

/** For how long (ms) the status of an earlier operator may stand while this one finds out. */
const findOutMs = 5_000;

/** What writing a status needs. */
export interface StatusDeps {
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly clock: Clock;
}

/** One look at a pool, as far as its status needs it. */
export interface StatusInput {
  readonly observed: Observed;
  readonly podFacts: PodFacts;
  readonly signals: Signals;
  readonly decision: Decision;
  readonly deploymentProblem: DeploymentProblem | undefined;
  readonly memory: PoolMemory;
  readonly context: ReconcileContext;
}

/** What came of it. */
export interface StatusResult {
  readonly status: WorkerPoolStatus;
  /** After this many milliseconds a change of counts that was held back is due. */
  readonly dueMs?: number;
}

/** Writes the status if it says something new. Rejects with KubeError. */
export async function writeStatus(deps: StatusDeps, input: StatusInput): Promise<StatusResult> {
  const { observed, memory, context } = input;
  const { pool } = observed;
  const previous = memory.status?.value ?? pool.status;
  memory.sinceMs ??= deps.clock.monotonicMs();
  const findingOutMs = memory.sinceMs + findOutMs - deps.clock.monotonicMs();
  if (previous !== undefined && findingOutMs > 0 && isFindingOut(input, previous))
    return { status: previous, dueMs: findingOutMs };
  const status = buildStatus(statusFacts(input, previous), deps.clock.now());
  reportProblems(deps, observed, status, previous, memory);
  if (previous !== undefined && isDeepStrictEqual(previous, status)) return { status };
  const nowMs = deps.clock.monotonicMs();
  const isUrgent = previous === undefined || !isDeepStrictEqual(urgentPart(previous), urgentPart(status));
  const waitMs = (memory.status?.writtenMs ?? -Infinity) + countsIntervalMs - nowMs;
  if (!isUrgent && waitMs > 0) return { status, dueMs: waitMs };
  const { namespace, name } = pool.metadata;
  const body = {
    apiVersion: workerPoolApiVersion,
    kind: workerPoolResource.kind,
    metadata: { namespace, name },
    status,
  };
  await deps.client.apply(workerPoolResource, body, {
    fieldManager: statusManager,
    subresource: 'status',
    signal: context.signal,
  });
  memory.status = { value: status, writtenMs: nowMs };
  delete memory.scaled;
  return { status };
}

function statusFacts(input: StatusInput, previous: WorkerPoolStatus | undefined): StatusFacts {
  const { observed, signals, decision } = input;
  const { scaled } = input.memory;
  const { broker, deployment, sample } = observed;
  return {
    pool: observed.pool,
    previous,
    broker:
      broker.kind === 'problem'
        ? broker
        : { kind: 'ok', display: broker.endpoint.display, state: broker.sampler.state() },
    deployment:
      deployment === undefined || observed.nameTaken
        ? undefined
        : { ...deployment.status, desiredReplicas: scaled?.to ?? deployment.spec.replicas },
    deploymentProblem: input.deploymentProblem,
    pods: input.podFacts,
    tasks: { waiting: signals.ready, running: signals.running, held: signals.held },
    queues: sample.queues.map((queue) => {
      const running = observed.runningByQueue(queue.name);
      return { name: queue.name, ready: queue.ready, running, held: heldOf(sample.ackMode, queue.unacked, running) };
    }),
    decision,
    lastDecision: scaled === undefined ? undefined : lastDecision(observed.pool, scaled),
    routing: observed.routing,
    workerProblems: observed.workerProblems,
    silentPods: observed.silentPods,
  };
}

function lastDecision({ spec }: WorkerPool, { from, to, atMs, signals, decision }: Scaled): LastDecision {
  return {
    time: formatTime(atMs),
    from,
    to,
    reason: decision.reason,
    message: decision.message,
    ...(decision.limitedBy === undefined ? {} : { limitedBy: decision.limitedBy }),
    inputs: {
      ...input('waiting', signals.ready),
      ...input('running', signals.running),
      ...input('held', signals.held),
      tasksPerReplica: tasksPerReplica(spec),
      minReplicas: spec.scaling.minReplicas,
      maxReplicas: spec.scaling.maxReplicas,
    },
  };
}

function input<K extends string>(key: K, value: Known<number>): Partial<Record<K, number>> {
  return value.kind === 'ok' ? ({ [key]: value.value } as Record<K, number>) : {};
}

/** The status without what may wait: counts of tasks, and the wording (not the reason) of conditions. */
function urgentPart({ tasks, queues, conditions, ...rest }: WorkerPoolStatus): unknown {
  return [rest, conditions?.map(({ message, ...condition }) => condition)];
}

/**
 * Whether this operator has just started, so that a status that an earlier one left says more than it could: the broker
 * is not connected yet, the routes are not computed, or the workers were not heard. Only for a spec that is the same.
 */
function isFindingOut({ observed, memory }: StatusInput, previous: WorkerPoolStatus): boolean {
  if (memory.status !== undefined || memory.scaled !== undefined) return false;
  if (previous.observedGeneration !== observed.pool.metadata.generation) return false;
  const { broker, routing, silentPods } = observed;
  if (broker.kind === 'problem') return false;
  return broker.sampler.state().kind === 'connecting' || routing === undefined || silentPods.length > 0;
}

/** One warning event for each problem, when it appears; again only after it was gone. */
function reportProblems(
  deps: StatusDeps,
  { pool }: Observed,
  status: WorkerPoolStatus,
  previous: WorkerPoolStatus | undefined,
  memory: PoolMemory,
): void {
  const problemsOf = ({ conditions = [] }: WorkerPoolStatus): Condition[] => conditions.filter(events.isProblem);
  const keysOf = (problems: readonly Condition[]): Set<string> =>
    new Set(problems.map(({ type, reason }) => `${type}/${reason}`));
  const problems = problemsOf(status);
  const reported = memory.reported ?? keysOf(problemsOf(previous ?? {}));
  const said = new Set<string>();
  for (const problem of problems) {
    // One cause often shows in two conditions, in the same words.
    if (reported.has(`${problem.type}/${problem.reason}`) || said.has(problem.message)) continue;
    said.add(problem.message);
    deps.events.record(events.aboutPool(pool), events.unhealthy(problem));
  }
  memory.reported = keysOf(problems);
}
