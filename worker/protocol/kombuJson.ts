/**
 * JSON as kombu reads and writes it: `{"__type__": …, "__value__": …}` for the Python values of values.ts, `NaN` and
 * `Infinity` as Python's json module spells them, integers of any size.
 *
 * Ordinary texts go through `JSON.parse` and `JSON.stringify`, which are several times faster; only a text or value that
 * they would refuse or change silently takes the slower way.
 */
import { malformed, ProtocolError, type Parsed } from './errors.ts';
import { maxDepth, parseExactJson, setOwn } from './exactJson.ts';
import { formatIsoTime } from './isoTime.ts';
import { CeleryDate, CeleryDateTime, CeleryTime, Decimal, Uuid } from './values.ts';

// 2^53 has 16 digits. A match inside of a text only costs the slower reader.
const mayHaveBigInteger = /\d{16}/;

/**
 * Reads a JSON text. Integers beyond 2^53 become bigint, `NaN` and `Infinity` numbers, typed values those of values.ts;
 * an object with an unknown `__type__` stays as it is. Never throws.
 */
export function decodeJson(text: string): Parsed<unknown> {
  const parsed = parsePlain(text) ?? parseExactJson(text);
  if (parsed.kind === 'malformed' || !text.includes('"__type__"')) return parsed;
  const problems: string[] = [];
  const value = revive(parsed.value, problems, 0);
  return problems[0] === undefined ? { kind: 'ok', value } : malformed(problems[0]);
}

function parsePlain(text: string): Parsed<unknown> | undefined {
  if (mayHaveBigInteger.test(text)) return undefined;
  try {
    return { kind: 'ok', value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** Innermost first, as Python's object_hook; changes the freshly parsed tree in place. */
function revive(value: unknown, problems: string[], depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > maxDepth) {
    problems.push(`values are nested deeper than ${maxDepth} levels`);
    return value;
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) value[i] = revive(value[i], problems, depth + 1);
    return value;
  }
  const object = value as Record<string, unknown>;
  const names = Object.keys(object);
  for (const name of names) setOwn(object, name, revive(object[name], problems, depth + 1));
  if (names.length !== 2 || !Object.hasOwn(object, '__type__') || !Object.hasOwn(object, '__value__')) return object;
  return reviveTyped(object, problems);
}

const decoders: ReadonlyMap<unknown, (value: unknown) => unknown> = new Map<string, (value: unknown) => unknown>([
  ['datetime', (value) => new CeleryDateTime(text(value))],
  // Python takes the day of a datetime too.
  ['date', (value) => new CeleryDate(text(value).slice(0, 10))],
  ['time', (value) => new CeleryTime(text(value))],
  ['decimal', (value) => new Decimal(text(value))],
  ['uuid', (value) => new Uuid(text((value as { hex?: unknown } | null)?.hex))],
  ['bytes', (value) => Buffer.from(text(value), 'utf8')],
  ['base64', (value) => Buffer.from(text(value), 'base64')],
]);

function text(value: unknown): string {
  if (typeof value !== 'string') throw new RangeError('not a text');
  return value;
}

function reviveTyped(object: Record<string, unknown>, problems: string[]): unknown {
  const type = object['__type__'];
  const decode = decoders.get(type);
  if (decode === undefined) return object;
  try {
    return decode(object['__value__']);
  } catch (err) {
    problems.push(`a value of __type__ ${String(type)} is ${err instanceof Error ? err.message : 'unreadable'}`);
    return object;
  }
}

/**
 * Writes a value as JSON that kombu 5.3 and newer reads back. bigint becomes a JSON integer, `NaN` and `Infinity` are
 * written as Python does, `Date` becomes a datetime in UTC, `Uint8Array` bytes, `undefined` null (in an object: left out).
 * Throws {@link ProtocolError} (`unencodable`), naming the place under `name`, for a function, symbol, Map, Set, Error,
 * Promise, invalid Date, circular or more than 1,000 deep value: `JSON.stringify` would drop or change most of them silently.
 */
export function encodeJson(value: unknown, name = 'the value'): string {
  // The assertion: JSON.stringify has no text only for undefined, functions and symbols, which are not plain.
  if (isPlain(value, 0)) return JSON.stringify(value);
  return write(value, name, 0);
}

/** Python's readers give up at about 1,000 levels. */
const maxWrittenDepth = 1_000;

/** True if JSON.stringify writes all of it without loss. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0);
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth >= maxWrittenDepth) return false;
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) if (!isPlain(item, depth + 1)) return false;
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  const object = value as Record<string, unknown>;
  if (typeof object['toJSON'] === 'function') return false;
  for (const name in object) if (!isPlain(object[name], depth + 1)) return false;
  return true;
}

function write(value: unknown, path: string, depth: number): string {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return JSON.stringify(value);
    case 'number':
      return Object.is(value, -0) ? '-0.0' : String(value);
    case 'bigint':
      return value.toString();
    case 'undefined':
      return 'null';
    case 'function':
    case 'symbol':
      throw refuse(path, `a ${typeof value}`);
    case 'object':
      return value === null ? 'null' : writeObject(value, path, depth);
  }
}

function writeObject(value: object, path: string, depth: number): string {
  if (depth >= maxWrittenDepth) {
    throw new ProtocolError(
      'unencodable',
      `${shorten(path)} is circular or nested deeper than ${maxWrittenDepth} levels`,
    );
  }
  if (Array.isArray(value)) {
    return `[${value.map((item, i) => write(item, `${path}[${i}]`, depth + 1)).join(',')}]`;
  }
  if (value instanceof Date) return writeDate(value, path);
  if (value instanceof CeleryDate) return typed('date', value.iso);
  if (value instanceof CeleryTime) return typed('time', value.iso);
  if (value instanceof Decimal) return typed('decimal', value.text);
  if (value instanceof Uuid) return typed('uuid', { hex: value.hex });
  if (value instanceof Uint8Array) return writeBytes(value);
  if (value instanceof Number || value instanceof String || value instanceof Boolean) {
    return write(value.valueOf(), path, depth);
  }
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return write((value as { toJSON(): unknown }).toJSON(), path, depth + 1);
  const what = describeUnwritable(value);
  if (what !== undefined) throw refuse(path, what);
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .map(([name, field]) => `${JSON.stringify(name)}:${write(field, `${path}.${name}`, depth + 1)}`);
  return `{${fields.join(',')}}`;
}

/** What JSON.stringify would silently turn into an empty object or a wrong one. */
function describeUnwritable(value: object): string | undefined {
  if (value instanceof Promise) return 'a Promise that was not awaited';
  if (value instanceof Error) return 'an Error';
  for (const kind of [Map, Set, WeakMap, WeakSet, RegExp, ArrayBuffer, SharedArrayBuffer]) {
    if (value instanceof kind) return `a ${kind.name}`;
  }
  return ArrayBuffer.isView(value) ? `a ${value.constructor.name}` : undefined;
}

function writeDate(value: Date, path: string): string {
  if (Number.isNaN(value.getTime())) throw refuse(path, 'an invalid Date');
  const iso = value instanceof CeleryDateTime ? value.iso : undefined;
  try {
    return typed('datetime', iso ?? formatIsoTime(value.getTime()));
  } catch {
    throw refuse(path, 'a Date outside of the years 1 to 9999');
  }
}

function writeBytes(value: Uint8Array): string {
  const utf8 = decodeUtf8(value);
  return utf8 === undefined
    ? typed('base64', Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'))
    : typed('bytes', utf8);
}

/** The text of UTF-8 bytes; undefined if they are not valid UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function typed(type: string, value: unknown): string {
  return `{"__type__":"${type}","__value__":${JSON.stringify(value)}}`;
}

function refuse(path: string, what: string): ProtocolError {
  return new ProtocolError('unencodable', `${shorten(path)} is ${what}, which JSON cannot hold`);
}

function shorten(path: string): string {
  return path.length > 200 ? `${path.slice(0, 200)}…` : path;
}
