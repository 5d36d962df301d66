/**
 * Reads what a Celery worker publishes about itself: kombu's envelope around an event, with the `muster` field that
 * muster_worker.py adds to heartbeats. Pure, and never throws: anybody who may publish on the broker may publish
 * anything, and one strange message must not cost the operator what the others say.
 */

/** The field that muster_worker.py adds to a heartbeat. What the worker does not know is absent. */
export interface MusterHeartbeat {
  /** `namespace/name` of the pool. */
  readonly pool?: string;
  /** The queues it consumes. */
  readonly queues: readonly string[];
  /** Tasks it can run at the same time. */
  readonly slots?: number;
  /** Tasks being executed, by queue. */
  readonly running: Readonly<Record<string, number>>;
  /** Tasks received and not started, those with an ETA not included, by queue. */
  readonly held: Readonly<Record<string, number>>;
  /** Tasks in its memory that wait for their ETA, countdown or retry. */
  readonly scheduled: number;
  readonly ackMode?: string;
  readonly prefetch?: string;
  /** What this Celery version or pool type cannot do, in short sentences. */
  readonly problems: readonly string[];
}

/** A message on a worker's channel. */
export type WorkerMessage =
  | {
      readonly kind: 'heartbeat';
      readonly hostname: string;
      /** Tasks being executed, as Celery itself counts. */
      readonly active: number;
      /** Tasks done since the worker started. */
      readonly processed: number;
      /** Milliseconds between two heartbeats. */
      readonly periodMs: number;
      readonly extra?: MusterHeartbeat;
      /** What is wrong with the `muster` field; the rest of the heartbeat still counts. */
      readonly extraProblem?: string;
    }
  | { readonly kind: 'offline'; readonly hostname: string }
  /** Well-formed, and nothing that is of use here. */
  | { readonly kind: 'other' }
  | { readonly kind: 'malformed'; readonly why: string };

/** A message longer than this is not a heartbeat. */
const maxMessageLength = 64 * 1024;
/** Bounds on what is kept of a worker's own words. */
const maxNames = 200;
const maxNameLength = 253;
const maxProblems = 20;

type Fields = Readonly<Record<string, unknown>>;

/** Reads a message. */
export function parseWorkerMessage(text: string): WorkerMessage {
  if (text.length > maxMessageLength) return malformed('too long');
  const envelope = parseObject(text);
  if (envelope === undefined) return malformed('the envelope is not a JSON object');
  const event = parseObject(bodyText(envelope));
  if (event === undefined) return malformed('the body is not a JSON object');
  const { type, hostname } = event;
  if (typeof type !== 'string') return malformed('no type');
  if (type !== 'worker-heartbeat' && type !== 'worker-offline') return { kind: 'other' };
  if (typeof hostname !== 'string' || hostname === '' || hostname.length > 2 * maxNameLength) {
    return malformed('no hostname');
  }
  if (type === 'worker-offline') return { kind: 'offline', hostname };
  const active = count(event['active']);
  const processed = count(event['processed']);
  if (active === undefined || processed === undefined) return malformed('active or processed is not a count');
  const freq = event['freq'];
  const extra = event['muster'] === undefined ? undefined : parseExtra(event['muster']);
  return {
    kind: 'heartbeat',
    hostname,
    active,
    processed,
    periodMs: typeof freq === 'number' && freq > 0 && freq < 3600 ? freq * 1000 : 2000,
    ...(typeof extra === 'string' ? { extraProblem: extra } : {}),
    ...(typeof extra === 'object' ? { extra } : {}),
  };
}

/** The pod of a worker: its node name is `<anything>@<pod>`. */
export function podOf(hostname: string): string {
  return hostname.slice(hostname.indexOf('@') + 1);
}

/** What is before the `@`, which Muster sets to the pool's name. */
export function nodeNameOf(hostname: string): string {
  const at = hostname.indexOf('@');
  return at < 0 ? '' : hostname.slice(0, at);
}

/** The `muster` field, or what is wrong with it. Fields that are not known here are left alone: a newer file adds some. */
function parseExtra(value: unknown): MusterHeartbeat | string {
  if (!isObject(value)) return 'muster is not an object';
  if (count(value['v']) === undefined) return 'muster.v is not a version';
  const running = countsByName(value['running']);
  const held = countsByName(value['held']);
  const scheduled = count(value['scheduled']);
  const queues = strings(value['queues'], maxNames);
  const problems = strings(value['problems'] ?? [], maxProblems);
  if (running === undefined) return 'muster.running does not give a count by queue';
  if (held === undefined) return 'muster.held does not give a count by queue';
  if (scheduled === undefined) return 'muster.scheduled is not a count';
  if (queues === undefined) return 'muster.queues is not a list of names';
  if (problems === undefined) return 'muster.problems is not a list of sentences';
  const { pool, ackMode, prefetch } = value;
  const slots = count(value['slots']);
  return {
    ...(isName(pool) ? { pool } : {}),
    queues,
    ...(slots === undefined ? {} : { slots }),
    running,
    held,
    scheduled,
    ...(isName(ackMode) ? { ackMode } : {}),
    ...(isName(prefetch) ? { prefetch } : {}),
    problems,
  };
}

function bodyText(envelope: Fields): string {
  const { body, properties } = envelope;
  if (typeof body !== 'string') return '';
  const isBase64 = isObject(properties) && properties['body_encoding'] === 'base64';
  return isBase64 ? Buffer.from(body, 'base64').toString('utf8') : body;
}

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 2 * maxNameLength;
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function countsByName(value: unknown): Readonly<Record<string, number>> | undefined {
  if (!isObject(value)) return undefined;
  const entries = Object.entries(value);
  if (entries.length > maxNames) return undefined;
  if (entries.some(([name, tasks]) => name.length > maxNameLength || count(tasks) === undefined)) return undefined;
  return value as Readonly<Record<string, number>>;
}

function strings(value: unknown, most: number): readonly string[] | undefined {
  if (!Array.isArray(value) || !value.every((each): each is string => typeof each === 'string')) return undefined;
  return value.slice(0, most).map((each) => each.slice(0, maxNameLength));
}

function malformed(why: string): WorkerMessage {
  return { kind: 'malformed', why };
}
