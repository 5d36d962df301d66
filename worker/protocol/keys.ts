/**
 * Names of Redis keys and channels that kombu and Celery use. Source: kombu/transport/redis.py, celery/backends/base.py,
 * celery/backends/redis.py.
 */
import { defaultPrioritySteps, priorityStep } from './priority.ts';

/** Between the name of a queue and its priority step, and between the parts of a binding. */
export const kombuSeparator = '\u0006\u0016';

/** How a broker's keys are named. */
export interface BrokerKeyOptions {
  /** The transport option `global_keyprefix`, in front of every key. Default: empty. */
  readonly keyPrefix?: string;
  /** The transport option `priority_steps`, ascending. Default: 0, 3, 6, 9. */
  readonly prioritySteps?: readonly number[];
  /** The transport option `sep`. Default: {@link kombuSeparator}. */
  readonly separator?: string;
}

/** The keys of one broker. All have the prefix. */
export interface BrokerKeys {
  readonly prioritySteps: readonly number[];
  /** The list that a message of a priority (0 to 9) is pushed to. */
  queue(queue: string, priority?: number): string;
  /** The lists of a queue, one per step, in the order in which they are served. */
  queueSteps(queue: string): readonly string[];
  /** Hash: delivery tag to JSON `[message, exchange, routing key]`. */
  readonly unacked: string;
  /** Sorted set: delivery tag by Unix time (s) of the delivery. */
  readonly unackedIndex: string;
  /** The lock of the sweep that restores messages. */
  readonly unackedMutex: string;
  /** Set of {@link bindingMember}s of an exchange. */
  binding(exchange: string): string;
  /** kombu 5.7: the same members, but only of queues that do not expire. Add to it too, or the binding may be deleted. */
  bindingPermanent(exchange: string): string;
  /** kombu 5.7: sorted set, exchange by deadline (Unix ms). */
  readonly bindingDeadlines: string;
  /** The channel of a fanout exchange (`celery.pidbox`, `celeryev`); `routingKey` only for those that have one. */
  fanoutChannel(db: number, exchange: string, routingKey?: string): string;
}

/** Builds the names of one broker. */
export function brokerKeys(options: BrokerKeyOptions = {}): BrokerKeys {
  const { keyPrefix = '', prioritySteps = defaultPrioritySteps, separator = kombuSeparator } = options;
  const stepKey = (queue: string, step: number): string =>
    step === 0 ? `${keyPrefix}${queue}` : `${keyPrefix}${queue}${separator}${step}`;
  return {
    prioritySteps,
    queue: (queue, priority = 0) => stepKey(queue, priorityStep(priority, prioritySteps)),
    queueSteps: (queue) => prioritySteps.map((step) => stepKey(queue, step)),
    unacked: `${keyPrefix}unacked`,
    unackedIndex: `${keyPrefix}unacked_index`,
    unackedMutex: `${keyPrefix}unacked_mutex`,
    binding: (exchange) => `${keyPrefix}_kombu.binding.${exchange}`,
    bindingPermanent: (exchange) => `${keyPrefix}_kombu.binding_permanent.${exchange}`,
    bindingDeadlines: `${keyPrefix}_kombu.binding_deadlines`,
    fanoutChannel: (db, exchange, routingKey = '') =>
      `${keyPrefix}/${db}.${exchange}${routingKey === '' ? '' : `/${routingKey}`}`,
  };
}

/** A member of a binding set: which queue an exchange feeds for a routing key. */
export interface Binding {
  readonly routingKey: string;
  readonly pattern: string;
  readonly queue: string;
}

/** Writes a member of a binding set. */
export function bindingMember(binding: Binding, separator = kombuSeparator): string {
  return [binding.routingKey, binding.pattern, binding.queue].join(separator);
}

/** Reads a member of a binding set; undefined for a text that is none. */
export function parseBindingMember(member: string, separator = kombuSeparator): Binding | undefined {
  const [routingKey, pattern, queue, ...more] = member.split(separator);
  if (routingKey === undefined || pattern === undefined || queue === undefined || more.length > 0) return undefined;
  return { routingKey, pattern, queue };
}

/** The keys of one result backend. */
export interface ResultKeys {
  /** String with the result's JSON; also the channel on which it is published. */
  taskMeta(taskId: string): string;
  /** String with a saved group. */
  group(groupId: string): string;
  /** Sorted set of a chord's returned parts, by group index. */
  chordParts(groupId: string): string;
  /** String: how many parts are expected beyond the size (added by `replace`). */
  chordExtra(groupId: string): string;
  /** String: the size of a chord. */
  chordSize(groupId: string): string;
  /** Celery 5.7: set of the ids of the parts that have returned, so that a part that runs twice counts once. */
  chordReturned(groupId: string): string;
  /** Celery 5.7: string, the token of the worker that sends the body. */
  chordClaim(groupId: string): string;
}

/**
 * Builds the names of one result backend. `keyPrefix` is `result_backend_transport_options['global_keyprefix']`, to which
 * Celery adds `_` unless it ends with one of `:_-.`.
 */
export function resultKeys(keyPrefix = ''): ResultKeys {
  const prefix = keyPrefix === '' || /[:_\-.]$/.test(keyPrefix) ? keyPrefix : `${keyPrefix}_`;
  const group = (groupId: string): string => `${prefix}celery-taskset-meta-${groupId}`;
  return {
    taskMeta: (taskId) => `${prefix}celery-task-meta-${taskId}`,
    group,
    chordParts: (groupId) => `${group(groupId)}.j`,
    chordExtra: (groupId) => `${group(groupId)}.t`,
    chordSize: (groupId) => `${group(groupId)}.s`,
    chordReturned: (groupId) => `${group(groupId)}.d`,
    chordClaim: (groupId) => `${group(groupId)}.c`,
  };
}
