/**
 * What real Celery writes to Redis, recorded per version in test/golden/celery/<version>/: read from there, recorded anew,
 * and brought into a form in which two recordings can be compared.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { format } from 'prettier';
import { decodeJson } from '../../worker/protocol/kombuJson.ts';
import type { Celery, CeleryVersion } from './celery.ts';
import { startRedis } from './redisServer.ts';

/** One run of a task by a real worker. */
export interface GoldenRun {
  readonly taskId: string;
  /** Results as they were published: channel and JSON. */
  readonly published: readonly (readonly [channel: string, json: string])[];
  /** Messages that the worker, or the client at the same time, sent to a queue that nobody consumes. */
  readonly sent: readonly string[];
  /** What lay in the keys of groups: a text, the members of a set, or members with scores. */
  readonly chordKeys: Readonly<Record<string, unknown>>;
}

/** Everything that record.py records. */
export interface Golden {
  readonly versions: Readonly<Record<string, string>>;
  /** Messages of a client, by case. */
  readonly messages: Readonly<Record<string, readonly string[]>>;
  readonly results: Readonly<Record<string, GoldenRun>>;
  /** Events: channel and envelope. */
  readonly events: readonly (readonly [channel: string, raw: string])[];
  readonly control: {
    readonly requests: Readonly<Record<string, string>>;
    readonly replies: Readonly<Record<string, string>>;
  };
}

const goldenDir = fileURLToPath(new URL('../golden/celery', import.meta.url));
const parts = ['versions', 'messages', 'results', 'events', 'control'] as const;

/** The recording of a version. */
export function readGolden(version: CeleryVersion): Golden {
  const read = (part: string): unknown => JSON.parse(readFileSync(join(goldenDir, version, `${part}.json`), 'utf8'));
  return Object.fromEntries(parts.map((part) => [part, read(part)])) as unknown as Golden;
}

/** True if a version was recorded. */
export function hasGolden(version: CeleryVersion): boolean {
  return existsSync(join(goldenDir, version, 'versions.json'));
}

/** Writes a recording over the one of before. */
export async function writeGolden(version: CeleryVersion, golden: Golden): Promise<void> {
  mkdirSync(join(goldenDir, version), { recursive: true });
  for (const part of parts) {
    const text = await format(JSON.stringify(golden[part]), { parser: 'json', printWidth: 120 });
    writeFileSync(join(goldenDir, version, `${part}.json`), text);
  }
}

/** Records what an installed version writes; about 20 s. */
export async function recordGolden(celery: Celery): Promise<Golden> {
  const redis = await startRedis();
  try {
    const { stdout } = await execa(join(celery.bin, 'python'), [join(goldenDir, 'record.py'), `${redis.url}/0`], {
      // The order of Python's sets is in the messages (stamped_headers).
      env: { PYTHONDONTWRITEBYTECODE: '1', PYTHONHASHSEED: '0', TZ: 'UTC', GOLDEN_QUIET: '1' },
      maxBuffer: 64 * 1024 * 1024,
    });
    return JSON.parse(stdout) as Golden;
  } finally {
    await redis.stop();
  }
}

/** Python code of test/golden/celery run with an installed version; its stdin and stdout are JSON. */
export async function runGoldenScript(celery: Celery, script: string, input: unknown): Promise<unknown> {
  const { stdout } = await execa(join(celery.bin, 'python'), [join(goldenDir, script)], {
    input: JSON.stringify(input),
    env: { PYTHONDONTWRITEBYTECODE: '1', TZ: 'UTC' },
    maxBuffer: 64 * 1024 * 1024,
  });
  return JSON.parse(stdout);
}

/** An envelope with its body decoded, as plain data. A body that is no JSON stays as it is. */
export function openEnvelope(raw: string): Readonly<Record<string, unknown>> {
  const message = parse(raw) as Record<string, unknown> & { body: string; headers: Record<string, unknown> };
  if (message['content-type'] !== 'application/json' || 'compression' in message.headers) return message;
  return { ...message, body: parse(Buffer.from(message.body, 'base64').toString('utf8')) };
}

function parse(text: string): unknown {
  const parsed = decodeJson(text);
  if (parsed.kind === 'malformed') throw new Error(parsed.why);
  return parsed.value;
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b/g;
const isoTime = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(?=[+]00:00|"|$)/g;
/** Times that record.py sends on purpose. */
const fixedTime = /^(2031-05-17|2026-11-22T04:41|2020-01-01)/;
/** Numbers that differ from run to run. */
const varying = new Set([
  'timestamp',
  'clock',
  'pid',
  'runtime',
  'processed',
  'active',
  'loadavg',
  'expiration',
  'time_start',
  'processes',
]);

/** A recording in which everything that differs from run to run is replaced: ids by their order in a case, times, pids. */
export function normaliseGolden(golden: Golden): unknown {
  const entries = <T, U>(record: Readonly<Record<string, T>>, convert: (value: T) => U): Record<string, U> =>
    Object.fromEntries(Object.entries(record).map(([name, value]) => [name, convert(value)]));
  return {
    messages: entries(golden.messages, (raws) => normalise(raws.map(openEnvelope))),
    results: entries(golden.results, ({ published, sent, chordKeys }) =>
      normalise({
        published: published.map(([channel, json]) => [channel, parse(json)]),
        sent: sent.map(openEnvelope),
        chordKeys,
      }),
    ),
    events: eventShapes(golden.events),
    requests: entries(golden.control.requests, (raw) => normalise(openEnvelope(raw))),
    replies: entries(golden.control.replies, (raw) => normalise(openEnvelope(raw))),
  };
}

/** Replaces what differs from run to run. */
export function normalise(value: unknown): unknown {
  const ids = new Map<string, string>();
  const text = (found: string): string =>
    found
      .replace(uuid, (id) => {
        const shown = ids.get(id) ?? `<id ${ids.size + 1}>`;
        ids.set(id, shown);
        return shown;
      })
      .replace(isoTime, (time) => (fixedTime.test(time) ? time : '<time>'))
      .replace(/gen\d+@/g, 'gen<pid>@');
  const walk = (found: unknown, name: string): unknown => {
    if (name === 'traceback' && typeof found === 'string')
      return text(`${found.split('\n')[0]} … ${found.trim().split('\n').at(-1)}`);
    if (varying.has(name) || (name === 'expires' && typeof found === 'number')) return `<${name}>`;
    // The whole configuration and rusage of a worker: only what there is.
    if (name === 'total' || name === 'rusage' || name === 'broker' || name === 'uptime') return `<${name}>`;
    if (typeof found === 'string') return text(found);
    // In hello: when an id was revoked, by the monotonic clock.
    if (typeof found === 'number' && !Number.isInteger(found) && found > 1000) return '<seconds>';
    if (typeof found === 'bigint' || typeof found !== 'object' || found === null) return found;
    if (Array.isArray(found)) return found.map((item) => walk(item, ''));
    if (Object.getPrototypeOf(found) !== Object.prototype) return found;
    return Object.fromEntries(Object.entries(found).map(([key, item]) => [text(key), walk(item, key)]));
  };
  return walk(value, '');
}

/** Batches depend on timing; what counts is which events there are and what is in each. */
function eventShapes(events: Golden['events']): unknown {
  const shapes = new Map<string, Set<string>>();
  for (const [channel, raw] of events) {
    const { body, headers, properties } = openEnvelope(raw);
    const items = (Array.isArray(body) ? body : [body]) as readonly Readonly<Record<string, unknown>>[];
    for (const item of items) {
      const type = String(item['type']);
      const fields = Object.entries(item).map(([name, value]) => `${name}: ${value === null ? 'null' : typeof value}`);
      const { delivery_tag: _, ...rest } = properties as Record<string, unknown>;
      const about = `${channel} ${JSON.stringify(headers)} ${JSON.stringify(rest)} ${fields.join(', ')}`;
      shapes.set(type, (shapes.get(type) ?? new Set()).add(about));
    }
  }
  return Object.fromEntries([...shapes].map(([type, found]): [string, string[]] => [type, [...found].sort()]).sort());
}

/** Where two recordings differ, at most 30 places. */
export function findDrift(now: unknown, before: unknown, path = ''): string[] {
  if (Object.is(now, before)) return [];
  const isNested = (value: unknown): value is object => typeof value === 'object' && value !== null;
  if (!isNested(now) || !isNested(before) || Array.isArray(now) !== Array.isArray(before)) {
    return [`${path}: now ${inspect(now)}, recorded ${inspect(before)}`];
  }
  const names = new Set([...Object.keys(now), ...Object.keys(before)]);
  const at = (value: object, name: string): unknown => (value as Readonly<Record<string, unknown>>)[name];
  // Values of values.ts and Buffers have no names of their own to compare by.
  if (names.size === 0 && inspect(now) !== inspect(before))
    return [`${path}: now ${inspect(now)}, recorded ${inspect(before)}`];
  return [...names].flatMap((name) => findDrift(at(now, name), at(before, name), `${path}.${name}`)).slice(0, 30);
}
