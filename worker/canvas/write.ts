/** The message of a single task of a canvas, and the list that it is pushed to. Pure. Source: celery/app/base.py (`send_task`). */
import { ProtocolError } from '../protocol/errors.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import { buildMessage } from '../protocol/outgoing.ts';
import { isRecord, parseSignature, readSignatures } from '../protocol/signature.ts';
import { text } from './draft.ts';
import type { Ids } from './freeze.ts';

/** A message and where it goes. */
export interface Written {
  /** Of the task. */
  readonly id: string;
  readonly tag: string;
  readonly list: string;
  readonly raw: string;
}

/** How tasks find their queue. */
export interface Routing {
  readonly keys: BrokerKeys;
  /** The queue of a task that does not say where it goes. */
  queueOf(task: string): string;
  /** Shown as who sent it, `gen123@host`. */
  readonly origin: string;
}

/** Who sends. */
export interface WriteContext {
  readonly ids: Ids;
  readonly routing: Routing;
  /** Unix ms. */
  readonly nowMs: number;
  readonly rootId: string | undefined;
  readonly parentId: string | undefined;
}

/** Options that have a place of their own in a message; stamps are the others that `stamped_headers` names. */
export function writeTask(
  task: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: Readonly<Record<string, unknown>>,
  { ids, routing, nowMs, rootId, parentId }: WriteContext,
): Written {
  const id = text(options['task_id']) ?? ids.newId();
  const queue = queueOf(task, kwargs, options, routing);
  const priority = number(options['priority']) ?? 0;
  const tag = ids.newId();
  const stamped = Array.isArray(options['stamped_headers'])
    ? (options['stamped_headers'] as unknown[]).filter((name) => typeof name === 'string')
    : undefined;
  const expires = timeOf(options['expires'], nowMs, 'expires');
  const countdown = number(options['countdown']);
  const built = buildMessage({
    ...{ task, id, tag, args, kwargs, priority, routingKey: queue, origin: routing.origin },
    callbacks: readSignatures(options['link']),
    errbacks: readSignatures(options['link_error']),
    chain: readSignatures(options['chain']),
    chord: chordOf(options['chord']),
    retries: number(options['retries']) ?? 0,
    eta: countdown === undefined ? timeOf(options['eta'], nowMs, 'eta') : nowMs + countdown * 1000,
    expires,
    expirationMs: expires === undefined ? undefined : msOf(expires) - nowMs,
    rootId: text(options['root_id']) ?? rootId,
    parentId: text(options['parent_id']) ?? parentId,
    groupId: text(options['group_id']),
    groupIndex: number(options['group_index']),
    timeLimitSeconds: positive(options['time_limit']),
    softTimeLimitSeconds: positive(options['soft_time_limit']),
    ignoreResult: options['ignore_result'] === true,
    replyTo: text(options['reply_to']) ?? ids.replyTo,
    shadow: text(options['shadow']),
    argsRepr: text(options['argsrepr']),
    kwargsRepr: text(options['kwargsrepr']),
    stampedHeaders: stamped,
    stamps: Object.fromEntries((stamped ?? []).map((name) => [name, options[name]])),
    replacedTaskNesting: number(options['replaced_task_nesting']) ?? 0,
    ...(isRecord(options['headers']) ? { headers: options['headers'] } : {}),
  });
  return { id, tag, list: routing.keys.queue(queue, priority), raw: built.raw };
}

/** A map is routed as the task that it calls. */
function queueOf(
  task: string,
  kwargs: Readonly<Record<string, unknown>>,
  options: Readonly<Record<string, unknown>>,
  routing: Routing,
): string {
  const named = text(options['queue']) ?? text(options['routing_key']);
  if (named !== undefined) return named;
  if (task === 'celery.map' || task === 'celery.starmap') {
    const inner = parseSignature(kwargs['task']);
    if (inner.kind === 'ok') return routing.queueOf(inner.value.task);
  }
  return routing.queueOf(task);
}

function chordOf(value: unknown): ReturnType<typeof readSignatures>[number] | undefined {
  if (value === undefined || value === null) return undefined;
  const parsed = parseSignature(value, 'the chord');
  if (parsed.kind === 'malformed') throw new ProtocolError('invalid', parsed.why);
  return parsed.value;
}

/** A number is seconds from now, as Celery's `expires`. */
function timeOf(value: unknown, nowMs: number, name: string): number | string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number') return nowMs + value * 1000;
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'string' && !Number.isNaN(Date.parse(value))) return value;
  throw new ProtocolError('invalid', `${name} is neither a time nor a number of seconds`);
}

function msOf(time: number | string): number {
  return typeof time === 'number' ? time : Date.parse(time);
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function positive(value: unknown): number | undefined {
  const found = number(value);
  return found !== undefined && found > 0 ? found : undefined;
}
