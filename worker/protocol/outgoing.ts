/**
 * Writes task messages as Celery's `as_task_v2` and kombu's Redis transport write them. Pure: ids, tags and times are passed in.
 * Source: celery/app/amqp.py, celery/app/base.py (`send_task`), kombu/messaging.py, kombu/transport/virtual/base.py.
 */
import { malformed, ProtocolError, type Parsed } from './errors.ts';
import { formatIsoTime } from './isoTime.ts';
import { decodeJson, encodeJson } from './kombuJson.ts';
import { reprArgs, reprValue } from './pythonRepr.ts';
import { isRecord, type Signature } from './signature.ts';

/** A task to send. Only the name, ids and queue are needed; what is left out is sent as Celery sends its default. */
export interface OutgoingTask {
  readonly task: string;
  /** A uuid4. */
  readonly id: string;
  /** The `delivery_tag`, a uuid4; not the task's id, for a retry has the same id and another tag. */
  readonly tag: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly callbacks?: readonly Signature[] | undefined;
  readonly errbacks?: readonly Signature[] | undefined;
  /** Reversed: the next one is the last. */
  readonly chain?: readonly Signature[] | undefined;
  /** The body of the chord that the task is a part of. */
  readonly chord?: Signature | undefined;
  /** Default: 0. */
  readonly retries?: number;
  /** Unix ms; a text is sent as it is. */
  readonly eta?: number | string | undefined;
  /** Unix ms; a text is sent as it is. */
  readonly expires?: number | string | undefined;
  /** `properties.expiration`: how long it may lie in a queue. Celery sets it with `expires`, from its clock. */
  readonly expirationMs?: number | undefined;
  /** Default: the id. */
  readonly rootId?: string | undefined;
  readonly parentId?: string | undefined;
  readonly groupId?: string | undefined;
  readonly groupIndex?: number | undefined;
  readonly timeLimitSeconds?: number | undefined;
  readonly softTimeLimitSeconds?: number | undefined;
  /** Default: false. */
  readonly ignoreResult?: boolean;
  /** Where an rpc backend would send the result. Default: empty. */
  readonly replyTo?: string | undefined;
  /** 0 (served first) to 9. Default: 0. */
  readonly priority?: number;
  /** Default: empty, the routing key is then the queue. */
  readonly exchange?: string;
  readonly routingKey: string;
  /** The node that sends it, `gen123@host`. Default: null. */
  readonly origin?: string | undefined;
  readonly shadow?: string | undefined;
  /** Default: made from the arguments, as Celery does. Set it to hide secrets. */
  readonly argsRepr?: string | undefined;
  readonly kwargsRepr?: string | undefined;
  /** Names of the headers in `stamps`. */
  readonly stampedHeaders?: readonly string[] | undefined;
  readonly stamps?: Readonly<Record<string, unknown>> | undefined;
  /** Default: 0. */
  readonly replacedTaskNesting?: number;
  /** More headers; they win over those above, as in Celery. */
  readonly headers?: Readonly<Record<string, unknown>>;
  /** More properties (unknown options of `apply_async` go there in Celery). */
  readonly properties?: Readonly<Record<string, unknown>>;
}

/**
 * Writes a message of protocol 2 for LPUSH. Throws {@link ProtocolError} for arguments that JSON cannot hold (naming the
 * place, never the value) and for options out of range.
 */
export function buildMessage(outgoing: OutgoingTask): { raw: string; tag: string } {
  const { args = [], kwargs = {} } = outgoing;
  checkRanges(outgoing);
  const body = `[${encodeJson(args, 'args')}, ${encodeJson(kwargs, 'kwargs')}, ${encodeJson(embedOf(outgoing), 'embed')}]`;
  const headers = { ...headersOf(outgoing, args, kwargs), ...outgoing.headers };
  const properties = { ...propertiesOf(outgoing), ...outgoing.properties };
  return { raw: envelope(body, headers, properties), tag: outgoing.tag };
}

/** What a message that is sent once more changes. */
export interface Resending {
  readonly tag: string;
  /** Headers that are set to these values. */
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly properties?: Readonly<Record<string, unknown>>;
}

/**
 * The same message with another tag and some other headers, as a retry is: the body stays byte for byte as it came, so that
 * no argument changes its type on the way (a Python 1.0 would become 1). Never throws for a text that is no message.
 * One of protocol 1 has its fields in the body: it is malformed here, and is sent on with {@link buildMessage}.
 */
export function resendMessage(
  raw: string,
  { tag, headers, properties }: Resending,
): Parsed<{ raw: string; tag: string }> {
  const decoded = decodeJson(raw);
  if (decoded.kind === 'malformed') return malformed(`the message is not JSON: ${decoded.why}`);
  const message = decoded.value;
  if (!isRecord(message) || !isRecord(message['properties'])) return malformed('the message has no properties');
  const before = message['headers'];
  if (!isRecord(before) || !('task' in before)) return malformed('the message is not of protocol 2');
  const changed = {
    ...message,
    headers: { ...before, ...headers },
    properties: { ...message['properties'], ...properties, delivery_tag: tag },
  };
  return { kind: 'ok', value: { raw: encodeJson(changed, 'the message'), tag } };
}

function checkRanges({ retries = 0, priority = 0, timeLimitSeconds, softTimeLimitSeconds }: OutgoingTask): void {
  if (!Number.isSafeInteger(retries) || retries < 0) {
    throw new ProtocolError('invalid', `retries is ${retries}, not a whole number from 0`);
  }
  if (!Number.isInteger(priority) || priority < 0 || priority > 9) {
    throw new ProtocolError('invalid', `the priority is ${priority}, not one of 0 (first) to 9`);
  }
  for (const [name, seconds] of [
    ['time limit', timeLimitSeconds],
    ['soft time limit', softTimeLimitSeconds],
  ] as const) {
    if (seconds !== undefined && !(seconds > 0 && Number.isFinite(seconds))) {
      throw new ProtocolError('invalid', `the ${name} is ${seconds}, not a positive number of seconds`);
    }
  }
}

function embedOf({ callbacks, errbacks, chain, chord }: OutgoingTask): Record<string, unknown> {
  return {
    callbacks: orNull(callbacks),
    errbacks: orNull(errbacks),
    chain: orNull(chain),
    chord: chord ?? null,
  };
}

/** Celery sends null for "none", not an empty list. */
function orNull<T>(list: readonly T[] | undefined): readonly T[] | null {
  return list === undefined || list.length === 0 ? null : list;
}

function headersOf(
  outgoing: OutgoingTask,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return {
    // No version of Celery reads it; the same as Celery's for others who might.
    lang: 'py',
    task: outgoing.task,
    id: outgoing.id,
    shadow: outgoing.shadow ?? null,
    eta: isoOrNull(outgoing.eta),
    expires: isoOrNull(outgoing.expires),
    group: outgoing.groupId ?? null,
    group_index: outgoing.groupIndex ?? null,
    retries: outgoing.retries ?? 0,
    timelimit: [outgoing.timeLimitSeconds ?? null, outgoing.softTimeLimitSeconds ?? null],
    root_id: outgoing.rootId ?? outgoing.id,
    parent_id: outgoing.parentId ?? null,
    argsrepr: outgoing.argsRepr ?? reprArgs(args),
    kwargsrepr: outgoing.kwargsRepr ?? reprValue(kwargs),
    origin: outgoing.origin ?? null,
    ignore_result: outgoing.ignoreResult ?? false,
    replaced_task_nesting: outgoing.replacedTaskNesting ?? 0,
    stamped_headers: outgoing.stampedHeaders ?? null,
    stamps: outgoing.stamps ?? {},
  };
}

function isoOrNull(time: number | string | undefined): string | null {
  if (time === undefined) return null;
  return typeof time === 'string' ? time : formatIsoTime(time);
}

function propertiesOf(outgoing: OutgoingTask): Record<string, unknown> {
  const { expirationMs } = outgoing;
  return {
    correlation_id: outgoing.id,
    reply_to: outgoing.replyTo ?? '',
    delivery_mode: 2,
    ...(expirationMs === undefined ? {} : { expiration: String(Math.max(0, Math.trunc(expirationMs))) }),
    delivery_info: { exchange: outgoing.exchange ?? '', routing_key: outgoing.routingKey },
    priority: outgoing.priority ?? 0,
    body_encoding: 'base64',
    delivery_tag: outgoing.tag,
  };
}

/** kombu's envelope around a JSON body. Events, control requests and their replies are wrapped in it too. */
export function envelope(
  bodyJson: string,
  headers: Readonly<Record<string, unknown>>,
  properties: Readonly<Record<string, unknown>>,
): string {
  const body = Buffer.from(bodyJson, 'utf8').toString('base64');
  return `{"body":"${body}","content-encoding":"utf-8","content-type":"application/json","headers":${encodeJson(
    headers,
    'headers',
  )},"properties":${encodeJson(properties, 'properties')}}`;
}
