/**
 * Reads the fields of a message and remembers the first thing that is wrong, so that one pass over the fields gives either
 * a whole message or one sentence. A field that is null is as one that is missing, as Celery takes it.
 */
import { parseIsoTime } from './isoTime.ts';
import { isRecord, parseSignature, type Signature } from './signature.ts';

/** How long a bad value may be in a sentence. */
const shownCharacters = 60;

/** One use per message. */
export class FieldReader {
  readonly #fields: Readonly<Record<string, unknown>>;
  #problem: string | undefined;

  constructor(fields: Readonly<Record<string, unknown>>) {
    this.#fields = fields;
  }

  /** What is wrong, as a sentence without a full stop; undefined if nothing is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Remembers a problem, unless there is one. */
  fail(why: string): void {
    this.#problem ??= why;
  }

  #wrong<T>(name: string, value: unknown, wanted: string): T | undefined {
    this.fail(`${name} is ${show(value)}, not ${wanted}`);
    return undefined;
  }

  /** A text that must be there and not be empty. */
  requiredText(name: string): string {
    const value = this.#fields[name];
    if (typeof value === 'string' && value !== '') return value;
    if (value === undefined || value === null || value === '') this.fail(`the message has no ${name}`);
    else this.#wrong(name, value, 'a text');
    return '';
  }

  /** A text; an empty one is as none. */
  text(name: string): string | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null || value === '') return undefined;
    return typeof value === 'string' ? value : this.#wrong<string>(name, value, 'a text');
  }

  /** A whole number from 0; 0 if it is missing. */
  count(name: string): number {
    return this.index(name) ?? 0;
  }

  /** A whole number from 0. */
  index(name: string): number | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    return this.#wrong<number>(name, value, 'a whole number from 0');
  }

  /** An ISO 8601 time, as Unix ms. */
  time(name: string): number | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null) return undefined;
    // A typed datetime is what Celery's own maybe_iso8601 lets through.
    if (value instanceof Date) return value.getTime();
    const ms = typeof value === 'string' ? parseIsoTime(value) : undefined;
    return ms ?? this.#wrong<number>(name, value, 'an ISO 8601 time');
  }

  /** `[hard, soft]` in seconds. Celery's own documentation has them the other way round, its code has not. */
  timeLimits(name: string): { readonly hard: number | undefined; readonly soft: number | undefined } {
    const value = this.#fields[name];
    if (value === undefined || value === null) return noLimits;
    if (!Array.isArray(value)) {
      this.#wrong(name, value, 'a list of the hard and the soft limit');
      return noLimits;
    }
    const [hard, soft] = value as readonly unknown[];
    return { hard: this.#seconds(`${name}[0]`, hard), soft: this.#seconds(`${name}[1]`, soft) };
  }

  #seconds(name: string, value: unknown): number | undefined {
    // 0 is no limit for Celery, which takes `limit or the task's own`.
    if (value === undefined || value === null || value === 0) return undefined;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    return this.#wrong<number>(name, value, 'a positive number of seconds');
  }

  /** A list of texts; undefined if it is missing. */
  texts(name: string): readonly string[] | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null) return undefined;
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    return this.#wrong<string[]>(name, value, 'a list of texts');
  }

  /** Positional arguments; protocol 1 may leave them out. */
  args(value: unknown): readonly unknown[] {
    if (Array.isArray(value)) return value as readonly unknown[];
    // Never with the value in it: arguments may be secret.
    if (value !== undefined && value !== null) this.fail('args is not a list');
    return [];
  }

  /** Keyword arguments. */
  kwargs(value: unknown): Readonly<Record<string, unknown>> {
    if (isRecord(value)) return value;
    if (value !== undefined && value !== null) this.fail('kwargs is not an object');
    return {};
  }

  /** A list of signatures; a single one counts as a list of one, as for Celery's maybe_list. */
  signatures(name: string, value: unknown): readonly Signature[] {
    if (value === undefined || value === null) return [];
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    const signatures: Signature[] = [];
    for (const [i, item] of items.entries()) {
      const signature = this.signature(`${name}[${i}]`, item);
      if (signature !== undefined) signatures.push(signature);
      else this.fail(`${name}[${i}] is not an object`);
    }
    return signatures;
  }

  /** One signature; undefined if it is missing. */
  signature(name: string, value: unknown): Signature | undefined {
    if (value === undefined || value === null) return undefined;
    const parsed = parseSignature(value, name);
    if (parsed.kind === 'ok') return parsed.value;
    this.fail(parsed.why);
    return undefined;
  }
}

const noLimits = { hard: undefined, soft: undefined } as const;

function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > shownCharacters ? `${value.slice(0, shownCharacters)}…` : value);
    case 'number':
    case 'bigint':
    case 'boolean':
      return value.toString().slice(0, shownCharacters);
    default:
      return Array.isArray(value) ? 'a list' : 'an object';
  }
}
