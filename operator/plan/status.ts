/**
 * The status of a pool, from facts. Pure and stable: equal facts give an equal status whatever the time is, so that an
 * unchanged state is not written.
 */
import { replaceConditions, truncate } from '../api/v1alpha1/conditions.ts';
import type { LastDecision, QueueStatus, WorkerPoolStatus } from '../api/v1alpha1/workerpool.ts';
import type { Known } from '../signals/known.ts';
import type { QueueFacts, StatusFacts } from './facts.ts';
import { findHazards } from './hazards.ts';
import { poolSelector } from './names.ts';
import { describePool } from './readiness.ts';

/** Builds `status`, complete: what is absent is to be removed from the object. */
export function buildStatus(facts: StatusFacts, nowMs: number): WorkerPoolStatus {
  const { pool, previous, deployment, decision } = facts;
  const generation = pool.metadata.generation;
  const wanted = [...describePool(facts), ...findHazards(facts)];
  const tasks = {
    ...count('waiting', facts.tasks.waiting),
    ...count('running', facts.tasks.running),
    ...count('held', facts.tasks.held),
  };
  const lastDecision = facts.lastDecision ?? previous?.lastDecision;
  return {
    observedGeneration: generation,
    replicas: deployment?.replicas ?? 0,
    readyReplicas: facts.pods.ready,
    ...(decision === undefined ? {} : { desiredReplicas: decision.replicas }),
    selector: poolSelector(pool),
    ...(Object.keys(tasks).length === 0 ? {} : { tasks }),
    queues: facts.queues.map(queueStatus),
    ...(lastDecision === undefined ? {} : { lastDecision: bounded(lastDecision) }),
    conditions: replaceConditions(previous?.conditions ?? [], wanted, { nowMs, generation }),
  };
}

function queueStatus({ name, ready, running, held }: QueueFacts): QueueStatus {
  return { name, ...count('ready', ready), ...count('running', running), ...count('held', held) };
}

/** Unknown is absent, never 0. */
function count<K extends string>(key: K, value: Known<number>): Partial<Record<K, number>> {
  return value.kind === 'ok' ? ({ [key]: value.value } as Record<K, number>) : {};
}

function bounded(decision: LastDecision): LastDecision {
  return decision.message === undefined ? decision : { ...decision, message: truncate(decision.message, 1024) };
}
