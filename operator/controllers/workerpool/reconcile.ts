/**
 * One look at one pool: gather → signals → decide → plan → apply → status. Each step is a file of its own; this one
 * only puts them in order. The size is written before the status, because a waiting task waits for it.
 */
import type { WorkerPool } from '../../api/v1alpha1/workerpool.ts';
import type { Informer } from '../../kube/informer.ts';
import type { DeploymentProblem } from '../../plan/facts.ts';
import type { Freshness, VersionedCache } from '../../runtime/freshness.ts';
import type { ReconcileContext, Result } from '../../runtime/controller.ts';
import { decide, type Decision } from '../../scaling/decide.ts';
import { signals } from '../../signals/signals.ts';
import { secretNames } from '../endpoints.ts';
import { applyPool, currentReplicas, deploymentProblem, type ApplyDeps, type ApplyInput } from './apply.ts';
import { gather, type GatherDeps, type Observed } from './gather.ts';
import type { PoolMemories } from './memory.ts';
import type { PoolMetrics } from './metrics.ts';
import { scalingPolicy } from './policy.ts';
import { writeStatus, type StatusDeps } from './status.ts';

/** How soon to look again at a pool whose own last write the caches have not seen yet. */
const staleRetryMs = 25;
/** How often a pool with pods is looked at when nothing is reported: a worker that falls silent reports nothing. */
const watchfulMs = 5_000;
/** How often a pool with a problem outside of the caches (a missing Secret) is looked at. */
const problemRetryMs = 2_000;
/** How often a pool is looked at whose Deployment was refused. */
const refusedRetryMs = 30_000;

/** What the reconciler works with. */
export interface PoolDeps extends GatherDeps, ApplyDeps, StatusDeps {
  readonly pools: Informer<WorkerPool>;
  readonly memories: PoolMemories;
  readonly metrics: PoolMetrics;
  readonly freshness: Freshness;
  /** The caches that must show our own last writes before a pool is looked at again. */
  readonly caches: readonly VersionedCache[];
}

/** Builds the reconcile function; its key is `namespace/name`. */
export function createPoolReconcile(deps: PoolDeps): (poolKey: string, context: ReconcileContext) => Promise<Result> {
  return async (poolKey, context) => {
    const pool = deps.pools.get(poolKey);
    // Being deleted: the garbage collector takes what the pool owns; touching it now would only make it anew.
    if (pool === undefined || pool.metadata.deletionTimestamp !== undefined) {
      forget(deps, poolKey);
      return { kind: 'done' };
    }
    if (!deps.freshness.isFresh(poolKey, deps.caches))
      return { kind: 'requeueAfter', ms: staleRetryMs, why: 'the caches have not seen the last write' };
    const memory = deps.memories.of(poolKey, pool.metadata.uid);
    const observed = await gather(deps, poolKey, pool, context.signal);
    const meaning = signals(observed.sample, memory.signals, deps.clock.monotonicMs());
    memory.signals = meaning.memory;
    const current = currentReplicas(observed);
    const decision = decide(meaning, scalingPolicy(pool), current);
    const problem = await applyOrExplain(deps, {
      ...{ poolKey, observed, signals: meaning, decision, memory, context },
    });
    const scaledTo = memory.scaled?.to;
    const podFacts = observed.podFacts;
    const { status, dueMs } = await writeStatus(deps, {
      observed,
      podFacts,
      signals: meaning,
      decision,
      deploymentProblem: problem,
      memory,
      context,
    });
    deps.metrics.observe({
      namespace: pool.metadata.namespace,
      pool: pool.metadata.name,
      signals: meaning,
      decision,
      currentReplicas: scaledTo ?? current,
      readyReplicas: podFacts.ready,
      ready: status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false,
    });
    return again(observed, decision, problem, dueMs);
  };
}

/** Writes the Deployment and its size; what a user must mend becomes a sentence for the status, all else is thrown. */
async function applyOrExplain(deps: PoolDeps, input: ApplyInput): Promise<DeploymentProblem | undefined> {
  try {
    await applyPool(deps, input);
    return deploymentProblem(input.observed);
  } catch (err) {
    const problem = deploymentProblem(input.observed, err);
    if (problem === undefined) throw err;
    return problem;
  }
}

/** Ends everything that is held for a pool that is gone. */
function forget(deps: PoolDeps, poolKey: string): void {
  deps.subscriptions.unsubscribe(poolKey);
  deps.memories.forget(poolKey);
  deps.freshness.forget(poolKey);
  const slash = poolKey.indexOf('/');
  deps.metrics.remove(poolKey.slice(0, slash), poolKey.slice(slash + 1));
}

/** Whether the broker fails with what a Secret says. */
function hasDoubtfulSecret({ pool, broker }: Observed): boolean {
  return broker.kind === 'ok' && broker.sampler.state().kind === 'failed' && secretNames(pool).length > 0;
}

/** When to look again if nothing is reported: the soonest of what is pending. An idle pool without pods: never. */
function again(
  observed: Observed,
  decision: Decision,
  problem: DeploymentProblem | undefined,
  statusDueMs: number | undefined,
): Result {
  const due: [ms: number | undefined, why: string][] = [
    [decision.nextCheckMs, 'the idle time ends'],
    [observed.podFacts.nextCheckMs, 'a pod may have settled'],
    [statusDueMs, 'the counts in the status are due'],
    [observed.broker.kind === 'problem' ? problemRetryMs : undefined, 'the broker of the pool is not known'],
    [hasDoubtfulSecret(observed) ? problemRetryMs : undefined, 'the Secret may have been mended'],
    [problem === undefined ? undefined : refusedRetryMs, 'the Deployment could not be written'],
    [observed.pods.length > 0 ? watchfulMs : undefined, 'the pool has pods'],
  ];
  let soonest: { ms: number; why: string } | undefined;
  for (const [ms, why] of due) {
    if (ms !== undefined && ms < (soonest?.ms ?? Infinity)) soonest = { ms, why };
  }
  return soonest === undefined
    ? { kind: 'done' }
    : { kind: 'requeueAfter', ms: Math.max(soonest.ms, staleRetryMs), why: soonest.why };
}
