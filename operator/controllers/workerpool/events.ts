/** The events of a pool: constructors only, so that every reason a user can see stands in one place. */
import { workerPoolResource, type Condition, type WorkerPool } from '../../api/v1alpha1/workerpool.ts';
import type { EventMessage, EventTarget } from '../../kube/events.ts';
import type { Decision } from '../../scaling/decide.ts';

/** The pool as the object that an event is about. */
export function aboutPool({ metadata: { namespace, name, uid } }: WorkerPool): EventTarget {
  return { resource: workerPoolResource, namespace, name, uid };
}

/** The size was changed. */
export function scaled(from: number, decision: Decision): EventMessage {
  return {
    type: 'Normal',
    reason: 'Scaled',
    action: 'Scale',
    note: `${from} → ${decision.replicas} replicas: ${decision.message}`,
  };
}

/** The Deployment was made. */
export function created(name: string): EventMessage {
  return { type: 'Normal', reason: 'Created', action: 'Create', note: `created Deployment ${name}` };
}

/** Reasons that pass by themselves or were asked for: a status says them, an event would only be noise. */
const ordinaryReasons = new Set(['Starting', 'Fixed', 'Recommend', 'SignalUnknown', 'BrokerUnavailable']);

/** Whether a condition is a problem that a user should be told of: a hazard, or a state that should not be. */
export function isProblem({ type, status, reason }: Condition): boolean {
  return !ordinaryReasons.has(reason) && (type.endsWith('Hazard') ? status === 'True' : status === 'False');
}

/** Something is wrong with the pool: the reason and message of the condition that says so. */
export function unhealthy({ type, reason, message }: Condition): EventMessage {
  return { type: 'Warning', reason, action: `Check${type}`, note: message };
}
