/** How long a new operator takes to be useful: to its first decision, and until it has looked at every pool there is. */
import { eventually } from '../../test/support/eventually.ts';
import { countOf, writesOf } from './metrics.ts';
import { startOperator, type Operator, type OperatorOptions } from './operatorProcess.ts';
import { emptyPools, type Pool } from './pools.ts';
import type { Size, Stage } from './stage.ts';

/** How often a starting operator is asked for its metrics: often would slow what is measured, at 8,000 series. */
const askMs = 500;

/** How long to wait at most: something is broken then, not slow. */
const patienceMs = 300_000;

/** What one start took, from the moment at which the process was spawned. */
export interface StartTimes {
  /** Until the API server had accepted the size of the first pool that had a task waiting. */
  readonly firstDecisionSeconds: number;
  /** Until it had accepted the sizes of all pools that had. */
  readonly lastDecisionSeconds: number;
  /** Until every pool had been looked at with its queue read. */
  readonly allSeenSeconds: number;
  /** CPU time used until then: on a machine with other work to do, what the start would take on one without. */
  readonly cpuSeconds: number;
}

/**
 * Starts an operator on pools that exist already.
 * @param waiting pools into whose queues a task was put while no operator ran; emptied again afterwards
 */
export async function measureStart(
  stage: Stage,
  options: OperatorOptions,
  pools: number,
  waiting: readonly Pool[],
): Promise<{ operator: Operator; times: StartTimes }> {
  for (const { queue } of waiting) await stage.redis.lpush(queue, 'task');
  const operator = await startOperator(options);
  const isUp = (size: Size): boolean => size.replicas > 0;
  const decided = Promise.all(waiting.map(({ key }) => stage.sized(key, isUp, patienceMs)));
  const seen = untilAllSeen(operator, pools).then(async (ms) => ({ ms, ...(await operator.usage()) }));
  const [decidedMs, allSeen] = await Promise.all([decided, seen]);
  await emptyPools(stage, waiting);
  const since = (ms: number): number => (ms - operator.spawnedMs) / 1000;
  return {
    operator,
    times: {
      firstDecisionSeconds: since(Math.min(...decidedMs)),
      lastDecisionSeconds: since(Math.max(...decidedMs)),
      allSeenSeconds: since(allSeen.ms),
      cpuSeconds: allSeen.cpuSeconds,
    },
  };
}

/** Resolves when every pool has a number of waiting tasks, which it has only while its queue is known. */
export async function untilAllSeen(operator: Operator, pools: number): Promise<number> {
  return eventually(
    async () => {
      await operator.check();
      const seen = countOf((await operator.metrics()) ?? '', 'muster_pool_tasks', ['state="waiting"']);
      if (seen < pools) throw new Error(`${seen} of ${pools} pools were looked at`);
      return performance.now();
    },
    { timeoutMs: patienceMs, intervalMs: askMs },
  );
}

/** Resolves when the operator has not written anything for a while. */
export async function untilQuiet(operator: Operator): Promise<void> {
  let last = -1;
  await eventually(
    async () => {
      await operator.check();
      const now = writesOf((await operator.metrics()) ?? '');
      const wasQuiet = now === last;
      last = now;
      return wasQuiet;
    },
    { timeoutMs: patienceMs, intervalMs: 7_000 },
  );
}
