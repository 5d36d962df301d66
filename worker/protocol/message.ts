/**
 * A task message as it lies in a Redis list: kombu's envelope around Celery's protocol 2 or 1. Reading never throws and says
 * in one sentence what is wrong. Source: kombu/transport/virtual/base.py, celery/app/amqp.py, celery/worker/strategy.py
 * (`proto1_to_proto2`, `hybrid_to_proto2`), celery/worker/request.py.
 */
import { parseBody } from './body.ts';
import { FieldReader } from './fields.ts';
import { decodeJson } from './kombuJson.ts';
import { readPriority } from './priority.ts';
import { isRecord, type Signature } from './signature.ts';

/** What to do after a task, from the third part of the body. */
export interface Embed {
  readonly callbacks: readonly Signature[];
  readonly errbacks: readonly Signature[];
  /** Reversed: the next one is the last. */
  readonly chain: readonly Signature[];
  /** The body of the chord that the task is a part of. */
  readonly chord: Signature | undefined;
}

/** A task as a client asked for it. Optional fields are undefined where the client said nothing. */
export interface TaskMessage {
  readonly id: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly embed: Embed;
  /** How often it was retried, from 0. */
  readonly retries: number;
  /** Not before this Unix time (ms). */
  readonly etaMs?: number | undefined;
  /** Not after this Unix time (ms). */
  readonly expiresMs?: number | undefined;
  /** The first task of the workflow; its own id for that one. */
  readonly rootId: string;
  readonly parentId?: string | undefined;
  readonly groupId?: string | undefined;
  readonly groupIndex?: number | undefined;
  /** The hard limit. 0 counts as none, as for Celery. */
  readonly timeLimitSeconds?: number | undefined;
  readonly softTimeLimitSeconds?: number | undefined;
  /** True only if the client said so; else the option of the task counts. */
  readonly ignoreResult: boolean;
  readonly replyTo?: string | undefined;
  readonly correlationId?: string | undefined;
  /** 0 (served first) to 9. */
  readonly priority: number;
  readonly exchange: string;
  readonly routingKey: string;
  /** It was delivered before, and its worker did not acknowledge it. */
  readonly redelivered: boolean;
  /** The node that sent it. */
  readonly origin?: string | undefined;
  /** The name to show instead of the task's. */
  readonly shadow?: string | undefined;
  /** The arguments as Python shows them, made by the client. */
  readonly argsRepr?: string | undefined;
  readonly kwargsRepr?: string | undefined;
  readonly stampedHeaders?: readonly string[] | undefined;
  readonly stamps?: Readonly<Record<string, unknown>> | undefined;
  /** How often the task was replaced (`replace`). */
  readonly replacedTaskNesting: number;
  /** The wire format that it came in. */
  readonly protocol: 1 | 2;
  /** All headers, for sending the message on; for protocol 1 the fields of the body too. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** A message, or what is wrong with it. `id` and `task` are there if they could be read. */
export type ParsedMessage =
  | { readonly kind: 'ok'; readonly message: TaskMessage }
  /** It may be fine, but is in a form that is not accepted (pickle, yaml, …). */
  | { readonly kind: 'refused'; readonly why: string; readonly id?: string; readonly task?: string }
  | { readonly kind: 'malformed'; readonly why: string; readonly id?: string; readonly task?: string };

/** Reads a list element. Never throws. About 5 µs for an ordinary message. */
export function parseMessage(raw: string): ParsedMessage {
  const decoded = decodeJson(raw);
  if (decoded.kind === 'malformed') return failed('malformed', `the message is not JSON: ${decoded.why}`);
  const envelope = decoded.value;
  if (!isRecord(envelope)) return failed('malformed', 'the message is not an object');
  const { properties } = envelope;
  const headers = envelope['headers'] ?? {};
  if (!isRecord(headers)) return failed('malformed', 'the headers are not an object');
  if (!isRecord(properties)) return failed('malformed', 'the message has no properties', headers);
  const body = parseBody(envelope['body'], {
    contentType: envelope['content-type'],
    bodyEncoding: properties['body_encoding'],
    compression: headers['compression'],
  });
  if (body.kind !== 'ok') return failed(body.kind, body.why, headers);
  return 'task' in headers
    ? parseProtocol2(body.value, headers, properties, envelope)
    : parseProtocol1(body.value, headers, properties, envelope);
}

type Fields = Readonly<Record<string, unknown>>;

function parseProtocol2(body: unknown, headers: Fields, properties: Fields, envelope: Fields): ParsedMessage {
  if (Array.isArray(body)) {
    const parts = body as readonly unknown[];
    if (parts.length !== 3)
      return failed('malformed', `the body has ${parts.length} parts, not args, kwargs, embed`, headers);
    return build({
      protocol: 2,
      fields: headers,
      args: parts[0],
      kwargs: parts[1],
      embed: parts[2],
      properties,
      envelope,
    });
  }
  // A hybrid: the headers of protocol 2 over the body of protocol 1, as proxies between versions make it.
  if (!isRecord(body)) return failed('malformed', 'the body is not a list of args, kwargs, embed', headers);
  const fields = { ...body, ...headers };
  return build({ protocol: 2, fields, args: body['args'], kwargs: body['kwargs'], embed: body, properties, envelope });
}

function parseProtocol1(body: unknown, headers: Fields, properties: Fields, envelope: Fields): ParsedMessage {
  if (!isRecord(body) || !('task' in body))
    return failed('malformed', 'neither the headers nor the body name a task', headers);
  const { args, kwargs, ...rest } = body;
  const fields = { ...headers, ...rest, group: body['taskset'] ?? body['group'] };
  return build({ protocol: 1, fields, args, kwargs, embed: body, properties, envelope });
}

interface Parts {
  readonly protocol: 1 | 2;
  /** The headers, or what stands for them. */
  readonly fields: Fields;
  readonly args: unknown;
  readonly kwargs: unknown;
  readonly embed: unknown;
  readonly properties: Fields;
  readonly envelope: Fields;
}

function build({ protocol, fields, args, kwargs, embed, properties, envelope }: Parts): ParsedMessage {
  const read = new FieldReader(fields);
  const id = read.requiredText('id');
  const task = read.requiredText('task');
  const deliveryInfo = isRecord(properties['delivery_info']) ? properties['delivery_info'] : {};
  const stamps = fields['stamps'];
  const timeLimits = read.timeLimits('timelimit');
  const message: TaskMessage = {
    id,
    task,
    args: read.args(args),
    kwargs: read.kwargs(kwargs),
    embed: readEmbed(read, embed, protocol),
    retries: read.count('retries'),
    etaMs: read.time('eta'),
    expiresMs: read.time('expires'),
    rootId: read.text('root_id') ?? id,
    parentId: read.text('parent_id'),
    groupId: read.text('group'),
    groupIndex: read.index('group_index'),
    timeLimitSeconds: timeLimits.hard,
    softTimeLimitSeconds: timeLimits.soft,
    ignoreResult: fields['ignore_result'] === true,
    replyTo: anyText(properties['reply_to']),
    correlationId: anyText(properties['correlation_id']),
    priority: readPriority(properties['priority']),
    exchange: anyText(deliveryInfo['exchange']) ?? '',
    routingKey: anyText(deliveryInfo['routing_key']) ?? '',
    // kombu's restore writes the first; the others are where its versions and brokers put it.
    redelivered:
      fields['redelivered'] === true || deliveryInfo['redelivered'] === true || envelope['redelivered'] === true,
    origin: anyText(fields['origin']),
    shadow: anyText(fields['shadow']),
    argsRepr: anyText(fields['argsrepr']),
    kwargsRepr: anyText(fields['kwargsrepr']),
    stampedHeaders: read.texts('stamped_headers'),
    stamps: isRecord(stamps) ? stamps : undefined,
    replacedTaskNesting: read.count('replaced_task_nesting'),
    protocol,
    headers: fields,
    properties,
  };
  return read.problem === undefined ? { kind: 'ok', message } : failed('malformed', read.problem, fields);
}

const nothingEmbedded: Embed = { callbacks: [], errbacks: [], chain: [], chord: undefined };

function readEmbed(read: FieldReader, embed: unknown, protocol: 1 | 2): Embed {
  if (embed === null || embed === undefined) return nothingEmbedded;
  if (!isRecord(embed)) {
    read.fail('the third part of the body is not an object');
    return nothingEmbedded;
  }
  const { callbacks, errbacks, chain, chord } = embed;
  return {
    callbacks: read.signatures('callbacks', callbacks),
    errbacks: read.signatures('errbacks', errbacks),
    // Protocol 1 knows no chain.
    chain: protocol === 1 ? [] : read.signatures('chain', chain),
    chord: read.signature('chord', chord),
  };
}

/** A field that is only shown or passed on: anything but a text is as if it were not there. */
function anyText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function failed(kind: 'refused' | 'malformed', why: string, fields: Fields = {}): ParsedMessage {
  const { id, task } = fields;
  return {
    kind,
    why,
    ...(typeof id === 'string' ? { id } : {}),
    ...(typeof task === 'string' ? { task } : {}),
  };
}

export { buildMessage, resendMessage, type OutgoingTask, type Resending } from './outgoing.ts';
