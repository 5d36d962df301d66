/**
 * Remote control (pidbox): requests that are broadcast to all workers, and the replies of those they are meant for.
 * Source: kombu/pidbox.py, kombu/matcher.py, celery/app/control.py, celery/worker/control.py.
 */
import { parseBody } from './body.ts';
import { malformed, type Parsed } from './errors.ts';
import { decodeJson, encodeJson } from './kombuJson.ts';
import { envelope } from './outgoing.ts';
import { isRecord } from './signature.ts';

/** The exchange of requests; its Redis channel is `brokerKeys().fanoutChannel(db, controlExchange)`. */
export const controlExchange = 'celery.pidbox';
/** The exchange that Python clients want replies on; its bindings say to which list a routing key goes. */
export const controlReplyExchange = 'reply.celery.pidbox';

/** Where a reply goes: with an empty exchange the routing key is the list. */
export interface ReplyTo {
  readonly exchange: string;
  readonly routingKey: string;
}

/** A command. */
export interface ControlRequest {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Node names it is meant for. Undefined: all, or those that the pattern matches. */
  readonly destination?: readonly string[] | undefined;
  readonly pattern?: string | undefined;
  /** `glob` or `pcre`. */
  readonly matcher?: string | undefined;
  /** What the reply must carry. */
  readonly ticket?: string | undefined;
  /** Undefined: no reply is wanted. */
  readonly replyTo?: ReplyTo | undefined;
  /** The Lamport clock of the sender; 0 if it has none. */
  readonly clock: number;
  /** Unix ms after which nobody waits for the reply. Celery's workers do not look at it. */
  readonly expiresMs?: number | undefined;
}

/** Reads a request. Never throws. */
export function parseControlRequest(raw: string): Parsed<ControlRequest> {
  const parsed = unwrap(raw);
  if (parsed.kind === 'malformed') return malformed(`the control request: ${parsed.why}`);
  const { body, headers } = parsed.value;
  if (!isRecord(body)) return malformed('the control request is not an object');
  const { method, destination, pattern, matcher, ticket, reply_to: replyTo } = body;
  if (typeof method !== 'string' || method === '') return malformed('the control request names no method');
  const args = body['arguments'] ?? {};
  if (!isRecord(args)) return malformed(`the arguments of ${method.slice(0, 60)} are not an object`);
  const names = readDestination(destination);
  if (names.kind === 'malformed') return names;
  const { clock, expires } = headers;
  return {
    kind: 'ok',
    value: {
      method,
      arguments: args,
      destination: names.value,
      pattern: readText(pattern),
      matcher: readText(matcher),
      ticket: readText(ticket),
      replyTo: readReplyTo(replyTo),
      clock: typeof clock === 'number' && Number.isSafeInteger(clock) ? clock : 0,
      expiresMs: typeof expires === 'number' && expires > 0 ? expires * 1000 : undefined,
    },
  };
}

function readDestination(value: unknown): Parsed<readonly string[] | undefined> {
  if (value === undefined || value === null) return { kind: 'ok', value: undefined };
  // A text would match every node whose name is a part of it: Python's `in`. Nobody means that.
  if (!Array.isArray(value)) return malformed('the destination of the control request is not a list');
  const names = value.filter((name) => typeof name === 'string');
  // Python takes an empty list for "all".
  return { kind: 'ok', value: value.length === 0 ? undefined : names };
}

function readReplyTo(value: unknown): ReplyTo | undefined {
  if (!isRecord(value)) return undefined;
  const { exchange, routing_key: routingKey } = value;
  return typeof exchange === 'string' && typeof routingKey === 'string' && routingKey !== ''
    ? { exchange, routingKey }
    : undefined;
}

function readText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** True if a request is meant for a node. A matcher that is neither glob nor pcre, or a bad pattern, matches none. */
export function isForMe(
  hostname: string,
  request: Pick<ControlRequest, 'destination' | 'pattern' | 'matcher'>,
): boolean {
  const { destination, pattern, matcher } = request;
  if (destination !== undefined) return destination.includes(hostname);
  if (pattern === undefined || matcher === undefined) return true;
  if (matcher === 'glob') return matches(globToRegExp(pattern), hostname);
  // Python's re.match: from the start, not to the end.
  if (matcher === 'pcre') return matches(`^(?:${pattern})`, hostname);
  return false;
}

function matches(source: string, text: string): boolean {
  try {
    return new RegExp(source, 's').test(text);
  } catch {
    return false;
  }
}

/** Python's fnmatch: `*`, `?`, `[ab]`, `[!ab]`. */
function globToRegExp(pattern: string): string {
  let source = '';
  for (let i = 0; i < pattern.length; i += 1) {
    const char = pattern.charAt(i);
    // A ] right after the opening is a member.
    const close = char === '[' ? pattern.indexOf(']', pattern.charAt(i + 1) === '!' ? i + 3 : i + 2) : -1;
    if (char === '*') source += '.*';
    else if (char === '?') source += '.';
    else if (close === -1) source += char.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
    else {
      const members = pattern.slice(i + 1, close).replace(/[\\\]^[]/g, '\\$&');
      source += members.startsWith('!') ? `[^${members.slice(1)}]` : `[${members}]`;
      i = close;
    }
  }
  return `^${source}$`;
}

/** A request to send, as Celery's `app.control.broadcast` does. */
export interface OutgoingControl {
  readonly method: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: 'glob' | 'pcre';
  /** Both or none. */
  readonly reply?: { readonly ticket: string; readonly to: ReplyTo };
  /** The Lamport clock, after it was moved forward. */
  readonly clock: number;
  /** Unix ms until which the reply is waited for. */
  readonly expiresMs?: number;
  /** The delivery tag, a uuid4. */
  readonly tag: string;
}

/** Writes a request for PUBLISH to the channel of {@link controlExchange}. */
export function buildControlRequest(request: OutgoingControl): string {
  const { method, destination, pattern, matcher, reply, clock, expiresMs, tag } = request;
  const body = {
    method,
    arguments: request.arguments ?? {},
    destination: destination ?? null,
    pattern: pattern ?? null,
    matcher: matcher ?? null,
    ...(reply === undefined
      ? {}
      : {
          ticket: reply.ticket,
          reply_to: { exchange: reply.to.exchange, routing_key: reply.to.routingKey },
        }),
  };
  const headers = { clock, expires: expiresMs === undefined ? 0 : expiresMs / 1000 };
  return envelope(encodeJson(body, 'the control request'), headers, properties(2, controlExchange, '', tag));
}

/** What a node answers. */
export interface ControlReply {
  readonly hostname: string;
  readonly reply: unknown;
  readonly ticket?: string | undefined;
}

/** Writes a reply for LPUSH to the list that `replyTo` leads to. Throws ProtocolError for a reply that JSON cannot hold. */
export function buildControlReply(
  { hostname, reply, ticket }: ControlReply,
  { replyTo, clock, tag }: { readonly replyTo: ReplyTo; readonly clock: number; readonly tag: string },
): string {
  const body = encodeJson({ [hostname]: reply }, 'the reply');
  return envelope(body, { ticket: ticket ?? null, clock }, properties(1, replyTo.exchange, replyTo.routingKey, tag));
}

/** Reads a reply; one message can only hold that of one node. Never throws. */
export function parseControlReply(raw: string): Parsed<ControlReply & { readonly clock: number }> {
  const parsed = unwrap(raw);
  if (parsed.kind === 'malformed') return malformed(`the control reply: ${parsed.why}`);
  const { body, headers } = parsed.value;
  const [answer, ...more] = isRecord(body) ? Object.entries(body) : [];
  if (answer === undefined || more.length > 0) return malformed('the control reply is not that of one node');
  const { ticket, clock } = headers;
  return {
    kind: 'ok',
    value: {
      hostname: answer[0],
      reply: answer[1],
      ticket: readText(ticket),
      clock: typeof clock === 'number' && Number.isSafeInteger(clock) ? clock : 0,
    },
  };
}

/** A request is persistent (2) and a reply transient (1), whatever the exchange says; Redis treats both alike. */
function properties(
  deliveryMode: 1 | 2,
  exchange: string,
  routingKey: string,
  tag: string,
): Readonly<Record<string, unknown>> {
  return {
    delivery_mode: deliveryMode,
    delivery_info: { exchange, routing_key: routingKey },
    priority: 0,
    body_encoding: 'base64',
    delivery_tag: tag,
  };
}

function unwrap(raw: string): Parsed<{ body: unknown; headers: Readonly<Record<string, unknown>> }> {
  const decoded = decodeJson(raw);
  if (decoded.kind === 'malformed') return decoded;
  if (!isRecord(decoded.value)) return malformed('it is not an object');
  const headers = isRecord(decoded.value['headers']) ? decoded.value['headers'] : {};
  const own = isRecord(decoded.value['properties']) ? decoded.value['properties'] : {};
  const body = parseBody(decoded.value['body'], {
    contentType: decoded.value['content-type'],
    bodyEncoding: own['body_encoding'],
    compression: headers['compression'],
  });
  return body.kind === 'ok' ? { kind: 'ok', value: { body: body.value, headers } } : malformed(body.why);
}
