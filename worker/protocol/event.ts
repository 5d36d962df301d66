/**
 * Events of workers and tasks, as Flower and celery-exporter read them, in kombu's envelope. Task events are sent in
 * batches: the body is then a list. Source: celery/events/{event,dispatcher}.py, celery/worker/{heartbeat,request,strategy}.py,
 * kombu/clocks.py.
 */
import { parseBody } from './body.ts';
import { malformed, type Parsed } from './errors.ts';
import { decodeJson, encodeJson } from './kombuJson.ts';
import type { TaskMessage } from './message.ts';
import { envelope } from './outgoing.ts';
import { formatIsoTime, isPythonTime } from './isoTime.ts';
import { isRecord } from './signature.ts';

/** The exchange of events; its Redis channel is `brokerKeys().fanoutChannel(db, eventExchange, routingKey)`. */
export const eventExchange = 'celeryev';

/** Celery sends a batch of task events when it has this many. */
export const eventBatchLimit = 24;

/** The Lamport clock before something is sent: its new value. */
export function clockForward(clock: number): number {
  return clock + 1;
}

/** The Lamport clock after something with a clock was received: its new value. Anything but a number counts as 0. */
export function clockAdjust(clock: number, received: unknown): number {
  const other = typeof received === 'number' && Number.isSafeInteger(received) ? received : 0;
  return Math.max(clock, other) + 1;
}

/** An event without what every event has. */
export interface EventBody {
  /** `worker-heartbeat`, `task-received`, … */
  readonly type: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Who sends an event, and when. */
export interface EventStamp {
  /** The node name, `celery@host`. */
  readonly hostname: string;
  readonly pid: number;
  /** Hours west of UTC, as Python's `time.timezone // 3600`; 0 for a worker on UTC. */
  readonly utcOffsetHours?: number;
  /** The Lamport clock, after {@link clockForward}. */
  readonly clock: number;
  readonly timestampMs: number;
}

/** An event as it is sent. */
export type CeleryEvent = Readonly<Record<string, unknown>> & { readonly type: string };

/** An event with all of its fields, in Celery's order. */
export function buildEvent({ type, fields }: EventBody, stamp: EventStamp): CeleryEvent {
  const { hostname, pid, utcOffsetHours = 0, clock, timestampMs } = stamp;
  return { hostname, utcoffset: utcOffsetHours, pid, clock, ...fields, timestamp: timestampMs / 1000, type };
}

/** What goes to Redis: PUBLISH to the channel of the routing key. */
export interface EventMessage {
  /** `worker.heartbeat`, or `task.multi` for a batch. */
  readonly routingKey: string;
  readonly raw: string;
}

/** An event on its own, as those of workers are sent. `tag` is a uuid4. */
export function buildEventMessage(event: CeleryEvent, hostname: string, tag: string): EventMessage {
  return wrap(encodeJson(event, 'the event'), event.type.replaceAll('-', '.'), hostname, tag);
}

/** Several task events in one message. */
export function buildEventBatch(events: readonly CeleryEvent[], hostname: string, tag: string): EventMessage {
  return wrap(encodeJson(events, 'the events'), 'task.multi', hostname, tag);
}

function wrap(bodyJson: string, routingKey: string, hostname: string, tag: string): EventMessage {
  const properties = {
    delivery_mode: 1,
    delivery_info: { exchange: eventExchange, routing_key: routingKey },
    priority: 0,
    body_encoding: 'base64',
    delivery_tag: tag,
  };
  return { routingKey, raw: envelope(bodyJson, { hostname }, properties) };
}

/** Reads the events of a message, one or a batch. Never throws. */
export function parseEvents(raw: string): Parsed<readonly CeleryEvent[]> {
  const decoded = decodeJson(raw);
  if (decoded.kind === 'malformed') return malformed(`the event is not JSON: ${decoded.why}`);
  if (!isRecord(decoded.value)) return malformed('the event is not an object');
  const { body, headers, properties } = decoded.value;
  const parsed = parseBody(body, {
    contentType: decoded.value['content-type'],
    bodyEncoding: isRecord(properties) ? properties['body_encoding'] : undefined,
    compression: isRecord(headers) ? headers['compression'] : undefined,
  });
  if (parsed.kind !== 'ok') return malformed(parsed.why);
  const items: readonly unknown[] = Array.isArray(parsed.value) ? parsed.value : [parsed.value];
  const events: CeleryEvent[] = [];
  for (const item of items) {
    if (!isEvent(item)) return malformed('an event has no type');
    events.push(item);
  }
  return { kind: 'ok', value: events };
}

function isEvent(value: unknown): value is CeleryEvent {
  return isRecord(value) && typeof value['type'] === 'string';
}

/** What a heartbeat tells. */
export interface HeartbeatFields {
  /** Seconds between heartbeats. */
  readonly freq: number;
  /** How many tasks are executing. */
  readonly active: number;
  /** How many tasks have ended or started since the start of the worker. */
  readonly processed: number;
  /** Load average of the host over 1, 5 and 15 minutes. */
  readonly loadavg: readonly number[];
  readonly sw_ident: string;
  readonly sw_ver: string;
  readonly sw_sys: string;
}

/** `worker-online`, `worker-heartbeat`, `worker-offline`. More fields are kept: readers pass over what they do not know. */
export function workerEvent(kind: 'online' | 'heartbeat' | 'offline', fields: HeartbeatFields): EventBody {
  return { type: `worker-${kind}`, fields: { ...fields } };
}

/** A task was taken from its queue. */
export function taskReceived(message: TaskMessage): EventBody {
  return {
    type: 'task-received',
    fields: {
      uuid: message.id,
      name: message.shadow ?? message.task,
      args: message.argsRepr ?? '',
      kwargs: message.kwargsRepr ?? '',
      root_id: message.rootId,
      parent_id: message.parentId ?? null,
      retries: message.retries,
      eta: isoOrNull(message.etaMs),
      expires: isoOrNull(message.expiresMs),
    },
  };
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined || !isPythonTime(ms) ? null : formatIsoTime(ms);
}

/** A task began to run. */
export function taskStarted(uuid: string): EventBody {
  return { type: 'task-started', fields: { uuid } };
}

/** A task returned. `result` is its value as Python shows it (`reprValue`). */
export function taskSucceeded(uuid: string, result: string, runtimeSeconds: number): EventBody {
  return { type: 'task-succeeded', fields: { uuid, result, runtime: runtimeSeconds } };
}

/** A task failed for good. `exception` is it as Python shows it, `ValueError('bad')`. */
export function taskFailed(uuid: string, exception: string, traceback: string): EventBody {
  return { type: 'task-failed', fields: { uuid, exception, traceback } };
}

/** A task is sent once more. */
export function taskRetried(uuid: string, exception: string, traceback: string): EventBody {
  return { type: 'task-retried', fields: { uuid, exception, traceback } };
}

/** A task was not run, or ended, because it was revoked or expired. */
export function taskRevoked(
  uuid: string,
  how: { readonly terminated: boolean; readonly signum: string | null; readonly expired: boolean },
): EventBody {
  return { type: 'task-revoked', fields: { uuid, ...how } };
}

/** A task was rejected. */
export function taskRejected(uuid: string, requeue: boolean): EventBody {
  return { type: 'task-rejected', fields: { uuid, requeue } };
}
