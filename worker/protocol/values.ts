/**
 * Python values that travel in kombu's JSON as `{"__type__": …, "__value__": …}` and for which JavaScript has no type of
 * its own. Each keeps the text it came with, so that a value that nobody changed is sent on exactly as it came.
 * Source: kombu/utils/json.py (5.3 to 5.7).
 *
 * | Python | here | written |
 * |---|---|---|
 * | datetime | {@link CeleryDateTime}, a `Date`; any other `Date` is written as UTC | `datetime` |
 * | date | {@link CeleryDate} | `date` |
 * | time | {@link CeleryTime} | `time` |
 * | Decimal | {@link Decimal} | `decimal` |
 * | UUID | {@link Uuid} | `uuid` |
 * | bytes | `Buffer`; any `Uint8Array` is written | `bytes` if it is UTF-8, else `base64` |
 * | int beyond 2^53 | `bigint` | the number |
 * | anything else with a `__type__` | the plain object, as it came | the same |
 */
import { parseIsoTime } from './isoTime.ts';

/**
 * A Python `datetime`. It is a `Date` with whole milliseconds; microseconds and the offset live on in `iso` and are sent
 * on as they came unless the date is changed. A naive one (no offset) is read as UTC and stays naive.
 */
export class CeleryDateTime extends Date {
  readonly #text: string;
  readonly #ms: number;

  /** Throws RangeError for a text that is not a time. */
  constructor(text: string) {
    const ms = parseIsoTime(text);
    if (ms === undefined) throw new RangeError('not an ISO 8601 time');
    super(ms);
    this.#text = text;
    this.#ms = ms;
  }

  /** The text it came with; undefined once the date was changed with a setter. */
  get iso(): string | undefined {
    return this.getTime() === this.#ms ? this.#text : undefined;
  }
}

/** A Python `date`: a day of the calendar without a time and a zone, which a `Date` cannot be. */
export class CeleryDate {
  /** `YYYY-MM-DD`. */
  readonly iso: string;

  /** Throws RangeError for a text that is not a day. */
  constructor(iso: string) {
    if (!/^\d{4}-\d{2}-\d{2}$/.test(iso) || parseIsoTime(iso) === undefined) {
      throw new RangeError('not a date of the form YYYY-MM-DD');
    }
    this.iso = iso;
  }

  toString(): string {
    return this.iso;
  }

  toJSON(): string {
    return this.iso;
  }
}

/** A Python `time`: a time of day, `HH:MM[:SS[.ffffff]]`, with an offset if it has one. */
export class CeleryTime {
  /** The text as Python's `time.isoformat()` wrote it. */
  readonly iso: string;

  /** Throws RangeError for a text that is not a time of day. */
  constructor(iso: string) {
    if (!/^\d{2}:\d{2}/.test(iso) || parseIsoTime(`2000-01-01T${iso}`) === undefined || iso.startsWith('24')) {
      throw new RangeError('not a time of day of the form HH:MM[:SS[.ffffff]]');
    }
    this.iso = iso;
  }

  toString(): string {
    return this.iso;
  }

  toJSON(): string {
    return this.iso;
  }
}

/** A Python `Decimal`: exact digits, which a `number` would round. */
export class Decimal {
  /** As Python's `str()` writes it: `1.10`, `1E+3`, `NaN`, `-Infinity`. */
  readonly text: string;

  /** Throws RangeError for a text that is not a decimal number. */
  constructor(text: string) {
    if (!/^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf(?:inity)?|s?NaN\d*)$/i.test(text)) {
      throw new RangeError('not a decimal number');
    }
    this.text = text;
  }

  /** The nearest `number`. */
  toNumber(): number {
    if (/inf/i.test(this.text)) return this.text.startsWith('-') ? -Infinity : Infinity;
    return Number(this.text);
  }

  toString(): string {
    return this.text;
  }

  toJSON(): string {
    return this.text;
  }
}

/** A Python `UUID`. */
export class Uuid {
  /** 32 lower-case hexadecimal digits, as kombu writes it. */
  readonly hex: string;

  /** Takes the form with or without dashes. Throws RangeError for anything else. */
  constructor(text: string) {
    const hex = text.replaceAll('-', '').toLowerCase();
    if (!/^[0-9a-f]{32}$/.test(hex)) throw new RangeError('not a UUID');
    this.hex = hex;
  }

  /** The form with dashes. */
  toString(): string {
    const { hex } = this;
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  toJSON(): string {
    return this.toString();
  }
}
