/**
 * What a signature's options mean for the message that is sent for it. Source: celery/app/base.py (`send_task`),
 * celery/app/amqp.py (`as_task_v2`, `send_task_message`).
 */
import { malformed, type Parsed } from './errors.ts';
import { isPythonTime, parseIsoTime } from './isoTime.ts';
import type { OutgoingTask } from './outgoing.ts';
import { readPriority } from './priority.ts';
import { isRecord, readLinks, readSignatures, signatureId, type Signature } from './signature.ts';

/** What a signature cannot know. */
export interface SendingContext {
  /** Unix ms, for countdowns. */
  readonly nowMs: number;
  /** The task's id, used if the signature was not given one. */
  readonly id: string;
  readonly tag: string;
  /** The queue if the signature names none. */
  readonly defaultQueue: string;
  readonly origin?: string | undefined;
}

/** Options with a meaning of their own; what else a signature has becomes a property of the message, as in Celery. */
const known: ReadonlySet<string> = new Set(
  // Those of send_task and as_task_v2.
  [
    ...[
      'task_id',
      'reply_to',
      'root_id',
      'parent_id',
      'group_id',
      'group_index',
      'chord',
      'chain',
      'link',
      'link_error',
    ],
    ...['countdown', 'eta', 'expires', 'retries', 'time_limit', 'soft_time_limit', 'shadow', 'ignore_result', 'origin'],
    ...['stamped_headers', 'replaced_task_nesting', 'argsrepr', 'kwargsrepr', 'headers', 'priority'],
    ...['queue', 'exchange', 'routing_key', 'expiration', 'delivery_mode'],
    // These steer the Python client that sends it and leave no trace in the message.
    ...[
      'serializer',
      'compression',
      'retry',
      'retry_policy',
      'producer',
      'connection',
      'publisher',
      'router',
      'declare',
    ],
    ...['exchange_type', 'timeout', 'confirm_timeout', 'add_to_parent', 'route_name', 'task_type', 'result_cls'],
    ...['create_sent_event', 'now', 'timezone', 'event_dispatcher', 'app'],
  ],
);

/**
 * The message to send for the signature of a task (not of a canvas). Merge arguments and options first
 * (`mergeSignature`). Malformed: an eta, expires or countdown that is none, or a queue that is no text.
 */
export function taskOfSignature(signature: Signature, context: SendingContext): Parsed<OutgoingTask> {
  const { options } = signature;
  const eta = readMoment(options['eta'], options['countdown'], context.nowMs);
  if (eta.kind === 'malformed') return malformed(`the signature's eta or countdown ${eta.why}`);
  const expires = readExpires(options['expires'], context.nowMs);
  if (expires.kind === 'malformed') return malformed(`the signature's expires ${expires.why}`);
  const target = readTarget(options, context.defaultQueue);
  if (target.kind === 'malformed') return target;
  const stampedHeaders = readTexts(options['stamped_headers']);
  const stamps = Object.fromEntries((stampedHeaders ?? []).map((name) => [name, options[name] ?? null]));
  const chord = readSignatures(options['chord'])[0];
  return {
    kind: 'ok',
    value: {
      task: signature.task,
      id: signatureId(signature) ?? context.id,
      tag: context.tag,
      args: signature.args,
      kwargs: signature.kwargs,
      callbacks: readLinks(signature, 'link'),
      errbacks: readLinks(signature, 'link_error'),
      chain: readSignatures(options['chain']),
      chord,
      retries: readCount(options['retries']) ?? 0,
      eta: eta.value,
      expires: expires.value,
      expirationMs: expires.value === undefined ? undefined : msUntil(expires.value, context.nowMs),
      rootId: readText(options['root_id']),
      parentId: readText(options['parent_id']),
      groupId: readText(options['group_id']),
      groupIndex: readCount(options['group_index']),
      timeLimitSeconds: readSeconds(options['time_limit']),
      softTimeLimitSeconds: readSeconds(options['soft_time_limit']),
      ignoreResult: options['ignore_result'] === true,
      replyTo: readText(options['reply_to']),
      priority: readPriority(options['priority']),
      exchange: target.value.exchange,
      routingKey: target.value.routingKey,
      origin: readText(options['origin']) ?? context.origin,
      shadow: readText(options['shadow']),
      argsRepr: readText(options['argsrepr']),
      kwargsRepr: readText(options['kwargsrepr']),
      stampedHeaders,
      stamps: stampedHeaders === undefined ? undefined : stamps,
      replacedTaskNesting: readCount(options['replaced_task_nesting']) ?? 0,
      headers: isRecord(options['headers']) ? options['headers'] : {},
      properties: otherOptions(options, stampedHeaders ?? []),
    },
  };
}

function otherOptions(
  options: Readonly<Record<string, unknown>>,
  stamped: readonly string[],
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(options).filter(
      ([name, value]) => !known.has(name) && !stamped.includes(name) && value !== undefined,
    ),
  );
}

function readTarget(
  options: Readonly<Record<string, unknown>>,
  defaultQueue: string,
): Parsed<{ exchange: string; routingKey: string }> {
  const { queue, exchange, routing_key: routingKey } = options;
  if (queue !== undefined && queue !== null) {
    // A Queue object of kombu is serialised as an object with a name.
    const name = isRecord(queue) ? queue['name'] : queue;
    if (typeof name !== 'string' || name === '') return malformed("the signature's queue is not a text");
    return { kind: 'ok', value: { exchange: '', routingKey: name } };
  }
  if (typeof exchange === 'string' && exchange !== '' && typeof routingKey === 'string' && routingKey !== '') {
    return { kind: 'ok', value: { exchange, routingKey } };
  }
  const key = exchange === '' && typeof routingKey === 'string' && routingKey !== '' ? routingKey : defaultQueue;
  return { kind: 'ok', value: { exchange: '', routingKey: key } };
}

function readMoment(eta: unknown, countdown: unknown, nowMs: number): Parsed<number | string | undefined> {
  // Celery: a countdown wins, and 0 is none.
  if (countdown !== undefined && countdown !== null && countdown !== 0) return afterSeconds(countdown, nowMs);
  return readIso(eta);
}

function readExpires(expires: unknown, nowMs: number): Parsed<number | string | undefined> {
  return typeof expires === 'number' ? afterSeconds(expires, nowMs) : readIso(expires);
}

function afterSeconds(seconds: unknown, nowMs: number): Parsed<number> {
  if (typeof seconds !== 'number' || !isPythonTime(nowMs + seconds * 1000))
    return malformed('is not a number of seconds');
  return { kind: 'ok', value: Math.round(nowMs + seconds * 1000) };
}

/** A text is kept as it is: its microseconds and its offset. */
function readIso(value: unknown): Parsed<number | string | undefined> {
  if (value === undefined || value === null || value === '') return { kind: 'ok', value: undefined };
  if (value instanceof Date && isPythonTime(value.getTime())) return { kind: 'ok', value: value.getTime() };
  if (typeof value === 'string' && parseIsoTime(value) !== undefined) return { kind: 'ok', value };
  return malformed('is not an ISO 8601 time');
}

function msUntil(time: number | string, nowMs: number): number {
  const ms = typeof time === 'string' ? (parseIsoTime(time) ?? nowMs) : time;
  return Math.max(0, ms - nowMs);
}

function readText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function readTexts(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.filter((item) => typeof item === 'string');
}

function readCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function readSeconds(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : undefined;
}
