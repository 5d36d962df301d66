/**
 * The conditions of a pool: the closed set of types and reasons with what each means (the reference page is made from
 * it), and the one way to write them. Each condition has one writer, operator/plan/status.ts.
 */
import type { Condition } from './workerpool.ts';

/** Every condition type, what it says, and its reasons. */
export const conditionCatalog = {
  Ready: {
    meaning: 'The pool has the pods it should have, or they are coming up, and nothing keeps its workers from working.',
    reasons: {
      Running: 'True: at least one pod is ready and nothing is wrong.',
      ScaledToZero: 'True: there should be no pod, and nothing is wrong.',
      Starting: 'False: pods were asked for and none is ready yet.',
      SecretMissing: 'False: a Secret that the pool names does not exist.',
      SecretKeyMissing: 'False: the Secret has no such key.',
      SecretForbidden: 'False: the operator may not read the Secret.',
      InvalidURL: 'False: the broker URL cannot be understood.',
      BrokerUnavailable: 'False: the broker cannot be used; the condition BrokerReachable says why.',
      NameTaken: 'False: a Deployment of that name exists and belongs to something else.',
      TemplateInvalid: 'False: the API server refused the Deployment; the message has its words.',
      Forbidden: 'False: the operator may not write an object that the pool needs.',
      PodsRefused: 'False: pods cannot be created (quota, admission); the message says why.',
      ImagePullFailed: 'False: the image of a pod cannot be pulled.',
      PodConfigInvalid:
        'False: a container cannot be made from what its pod says, as when a Secret it names is missing.',
      WorkerCrashed: 'False: a container ends with an error; its last words are in the message.',
      Unschedulable: 'False: no node has room for a pod.',
    },
  },
  BrokerReachable: {
    meaning: 'Muster reads the queues of the pool from the broker.',
    reasons: {
      Connected: 'True: connected.',
      Connecting: 'Unknown: not connected yet.',
      SecretMissing: 'False: the Secret with the URL or the authority does not exist.',
      SecretKeyMissing: 'False: the Secret has no such key.',
      SecretForbidden: 'False: the operator may not read the Secret.',
      InvalidURL: 'False: the broker URL cannot be understood.',
      Unreachable: 'False: nothing answers at the address.',
      WrongPassword: 'False: the broker refused the user or the password.',
      NoPermission: 'False: the user may not run a command that Muster needs.',
      WrongDatabase: 'False: the broker has no such database.',
      Loading: 'False: the broker is still loading its data.',
      ReadOnly: 'False: the broker is a replica that takes no writes.',
      TLSFailed: 'False: the TLS handshake failed.',
      Unknown: 'False: the broker answered something else; the message has its words.',
    },
  },
  Scaling: {
    meaning: 'Muster sets the size of the pool from its load.',
    reasons: {
      Auto: 'True: within the bounds, or above a lowered maxReplicas until the pool is empty; the message says so.',
      AtMaximum: 'True: the load asks for more than scaling.maxReplicas.',
      SignalUnknown: 'False: the load is not known in full; the size is held, or grows by what is known.',
      Fixed: 'False: spec.replicas fixes the size.',
      Recommend: 'False: scaling.mode is Recommend; status.desiredReplicas says what the size would be.',
      Pending: 'Unknown: nothing was read yet.',
    },
  },
  Routed: {
    meaning: 'The routing table sends the tasks of the pool to its queues, and to no other pool.',
    reasons: {
      Routed: 'True: no other pool claims the same tasks or queues.',
      Conflict: 'False: another pool claims the same pattern or consumes the same queue.',
      Forbidden: 'False: the operator may not write the routing table, or the file for workers.',
      Pending: 'Unknown: the routing table is not written yet.',
    },
  },
  PrefetchHazard: {
    meaning: 'Only while it exists: workers may hold more than they can run.',
    reasons: {
      Unlimited: 'True: prefetch.policy is Unlimited, so that one worker can take all tasks and the others stay idle.',
    },
  },
  VisibilityHazard: {
    meaning: 'Only while it exists: the broker may give a task to a second worker while the first one has it.',
    reasons: {
      ShorterThanLongestTask: 'True: the visibility timeout of the broker is shorter than longestTaskSeconds.',
    },
  },
  WorkerHazard: {
    meaning: 'Only while it exists: running workers cannot do all that the pool asks for, or do not say what they do.',
    reasons: {
      NotSupported: 'True: this Celery version or pool type cannot do it; the message has what the workers say.',
      Silent: 'True: a worker runs and says nothing, so that what it holds is not known and the pool cannot shrink.',
    },
  },
} as const satisfies Record<string, { meaning: string; reasons: Record<string, string> }>;

/** A condition type. */
export type ConditionType = keyof typeof conditionCatalog;
/** A reason of a condition type. */
export type ConditionReason<T extends ConditionType = ConditionType> = T extends ConditionType
  ? Extract<keyof (typeof conditionCatalog)[T]['reasons'], string>
  : never;

/** A condition as decided, before it is compared with what was there. */
export type WantedCondition = {
  [T in ConditionType]: {
    readonly type: T;
    readonly status: Condition['status'];
    readonly reason: ConditionReason<T>;
    readonly message: string;
  };
}[ConditionType];

/** When and for which generation conditions are written. */
export interface ConditionContext {
  /** Wall clock, ms since the epoch. */
  readonly nowMs: number;
  /** `metadata.generation` of the pool. */
  readonly generation: number;
}

/** The longest message a condition carries. */
export const maxMessageLength = 1024;

/** A time as Kubernetes writes it: RFC 3339, whole seconds. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** Shortens a text to at most `max` characters, with an ellipsis for what was cut. */
export function truncate(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}

/**
 * The list with one condition set. `lastTransitionTime` moves only when `status` changes, so that an unchanged state
 * gives an unchanged list and no write.
 */
export function setCondition(
  conditions: readonly Condition[],
  wanted: WantedCondition,
  context: ConditionContext,
): Condition[] {
  const before = conditions.find((condition) => condition.type === wanted.type);
  const condition: Condition = {
    type: wanted.type,
    status: wanted.status,
    observedGeneration: context.generation,
    lastTransitionTime: before?.status === wanted.status ? before.lastTransitionTime : formatTime(context.nowMs),
    reason: wanted.reason,
    message: truncate(wanted.message, maxMessageLength),
  };
  if (before === undefined) return [...conditions, condition];
  return conditions.map((existing) => (existing === before ? condition : existing));
}

/**
 * The whole list: exactly the wanted conditions, in their order. A condition that is not wanted any more (a hazard that
 * has passed) is gone.
 */
export function replaceConditions(
  before: readonly Condition[],
  wanted: readonly WantedCondition[],
  context: ConditionContext,
): Condition[] {
  return wanted.flatMap((condition) => {
    const same = before.filter((existing) => existing.type === condition.type);
    return setCondition(same, condition, context);
  });
}
