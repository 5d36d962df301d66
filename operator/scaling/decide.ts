/**
 * How many pods a pool should have. Pure: signals and policy in, a decision with its reason out.
 *
 * The law: enough pods for every outstanding task at `tasksPerReplica`, at once. Fewer only when the pool is proven
 * empty for `idleMs`: nothing waits, nothing is held, nothing runs, and every worker has just said so. That is dear
 * (a pool stays large until its last task ends) and never takes a pod from under a task.
 */
import type { Signals } from '../signals/signals.ts';

/** What the resource asks for. */
export interface ScalingPolicy {
  /** A fixed size (`spec.replicas`): autoscaling is off. */
  readonly fixedReplicas?: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** Outstanding tasks that one pod is meant to take; at least 1. */
  readonly tasksPerReplica: number;
  /** How long (ms) the pool must have been proven empty before it shrinks. */
  readonly idleMs: number;
}

/** Why a decision was taken: a closed set, so that it can label a metric. */
export const decisionReasons = [
  'Backlog',
  'BelowMinimum',
  'Fixed',
  'Idle',
  'IdleWait',
  'Busy',
  'SignalUnknown',
  'Steady',
] as const;
export type DecisionReason = (typeof decisionReasons)[number];

/** What kept the decision from being the size that the load alone asks for. */
export type DecisionLimit = 'MinReplicas' | 'MaxReplicas';

/** The size that a pool should have now. */
export interface Decision {
  readonly replicas: number;
  readonly reason: DecisionReason;
  /** One sentence for people: what was seen and what follows. */
  readonly message: string;
  readonly limitedBy?: DecisionLimit;
  /** Look again after this many milliseconds even if nothing is reported by then. */
  readonly nextCheckMs?: number;
}

/**
 * Decides.
 * @param current what the Deployment asks for now (`spec.replicas`)
 */
export function decide(signals: Signals, policy: ScalingPolicy, current: number): Decision {
  if (policy.fixedReplicas !== undefined) {
    return {
      replicas: policy.fixedReplicas,
      reason: 'Fixed',
      message: `spec.replicas fixes the size at ${policy.fixedReplicas}; autoscaling is off`,
    };
  }
  const outstanding = signals.outstandingAtLeast;
  const wanted = Math.ceil(outstanding / policy.tasksPerReplica);
  const bounded = Math.min(Math.max(wanted, policy.minReplicas), policy.maxReplicas);
  const limit: { limitedBy?: DecisionLimit } =
    bounded < wanted ? { limitedBy: 'MaxReplicas' } : bounded > wanted ? { limitedBy: 'MinReplicas' } : {};
  if (bounded > current) {
    const reason = wanted > current ? 'Backlog' : 'BelowMinimum';
    return { replicas: bounded, reason, message: growMessage(signals, policy, reason, bounded), ...limit };
  }
  if (bounded === current)
    return { replicas: current, reason: 'Steady', message: steadyMessage(signals, policy), ...limit };
  return shrink(signals, policy, current, bounded, limit);
}

/**
 * Fewer pods, or the same while that is not proven safe. The limit goes with a size that is held too: without it a pool
 * above a lowered maximum is reported as within its bounds.
 */
function shrink(
  signals: Signals,
  policy: ScalingPolicy,
  current: number,
  target: number,
  limit: { limitedBy?: DecisionLimit },
): Decision {
  const empty = signals.emptyForMs;
  if (empty.kind === 'unknown') {
    return {
      replicas: current,
      reason: 'SignalUnknown',
      message: `holding ${current}: cannot prove that no task is held or running (${empty.why})`,
      ...limit,
    };
  }
  if (signals.outstandingAtLeast > 0) {
    return {
      replicas: current,
      reason: 'Busy',
      message: `holding ${current}: ${tasks(signals.outstandingAtLeast)} still waiting, held or running`,
      ...limit,
    };
  }
  const waitMs = policy.idleMs - empty.value;
  if (waitMs > 0) {
    return {
      replicas: current,
      reason: 'IdleWait',
      message: `holding ${current}: empty, shrinks to ${target} after ${policy.idleMs / 1000} s without a task`,
      ...limit,
      nextCheckMs: waitMs,
    };
  }
  return {
    replicas: target,
    reason: 'Idle',
    message: `no task waiting, held or running for ${policy.idleMs / 1000} s, and every worker says so`,
    ...limit,
  };
}

function growMessage(
  signals: Signals,
  policy: ScalingPolicy,
  reason: 'Backlog' | 'BelowMinimum',
  replicas: number,
): string {
  if (reason === 'BelowMinimum') return `scaling.minReplicas is ${policy.minReplicas}`;
  const capped =
    replicas === policy.maxReplicas && Math.ceil(signals.outstandingAtLeast / policy.tasksPerReplica) > replicas;
  return `${tasks(signals.outstandingAtLeast)} outstanding at ${policy.tasksPerReplica} per pod${capped ? `, capped by scaling.maxReplicas ${policy.maxReplicas}` : ''}`;
}

function steadyMessage(signals: Signals, policy: ScalingPolicy): string {
  return `${tasks(signals.outstandingAtLeast)} outstanding at ${policy.tasksPerReplica} per pod`;
}

function tasks(count: number): string {
  return count === 1 ? '1 task' : `${count} tasks`;
}
