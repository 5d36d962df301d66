/**
 * A reader of JSON as Python's `json` module writes it, for the few texts that `JSON.parse` refuses or rounds: `NaN`,
 * `Infinity`, `-Infinity`, and integers beyond 2^53, which become bigint. It is slower than `JSON.parse` and used only then.
 */
import { malformed, type Parsed } from './errors.ts';

/** How deep values may be nested; Python's own reader gives up at about 1,000. */
export const maxDepth = 2_000;

const number = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const plainText = /[^"\\\u0000-\u001f]*/y;
const literals: readonly (readonly [string, unknown])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
];
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Reads one JSON text. */
export function parseExactJson(text: string): Parsed<unknown> {
  const reader = new Reader(text);
  try {
    return { kind: 'ok', value: reader.readAll() };
  } catch (err) {
    if (err instanceof SyntaxError) return malformed(err.message);
    throw err;
  }
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readAll(): unknown {
    const value = this.#readValue(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#error('text after the end of the JSON value');
    return value;
  }

  #error(what: string): SyntaxError {
    return new SyntaxError(`${what} at position ${this.#at}`);
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
    }
  }

  #take(char: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #readValue(depth: number): unknown {
    if (depth > maxDepth) throw new SyntaxError(`values are nested deeper than ${maxDepth} levels`);
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === '{') return this.#readObject(depth);
    if (char === '[') return this.#readArray(depth);
    if (char === '"') return this.#readText();
    for (const [word, value] of literals) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#readNumber();
  }

  #readArray(depth: number): unknown[] {
    this.#at += 1;
    const items: unknown[] = [];
    if (this.#take(']')) return items;
    for (;;) {
      items.push(this.#readValue(depth + 1));
      if (this.#take(']')) return items;
      if (!this.#take(',')) throw this.#error('a comma or ] is missing');
    }
  }

  #readObject(depth: number): Record<string, unknown> {
    this.#at += 1;
    const object: Record<string, unknown> = {};
    if (this.#take('}')) return object;
    for (;;) {
      this.#skipSpace();
      if (this.#text[this.#at] !== '"') throw this.#error('a name in quotes is missing');
      const name = this.#readText();
      if (!this.#take(':')) throw this.#error('a colon is missing');
      setOwn(object, name, this.#readValue(depth + 1));
      if (this.#take('}')) return object;
      if (!this.#take(',')) throw this.#error('a comma or } is missing');
    }
  }

  #readText(): string {
    this.#at += 1;
    let value = '';
    for (;;) {
      plainText.lastIndex = this.#at;
      const run = plainText.exec(this.#text)?.[0] ?? '';
      value += run;
      this.#at += run.length;
      const char = this.#text[this.#at];
      if (char === '"') {
        this.#at += 1;
        return value;
      }
      if (char !== '\\') throw this.#error('a text is not closed');
      value += this.#readEscape();
    }
  }

  #readEscape(): string {
    const char = this.#text[this.#at + 1] ?? '';
    if (char === 'u') {
      const hex = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw this.#error('a \\u escape is cut off');
      this.#at += 6;
      return String.fromCharCode(parseInt(hex, 16));
    }
    const value = escapes[char];
    if (value === undefined) throw this.#error('an unknown escape');
    this.#at += 2;
    return value;
  }

  #readNumber(): number | bigint {
    number.lastIndex = this.#at;
    const match = number.exec(this.#text);
    if (match === null) throw this.#error('a value is missing');
    this.#at += match[0].length;
    const value = Number(match[0]);
    const isInteger = match[1] === undefined && match[2] === undefined;
    return isInteger && !Number.isSafeInteger(value) ? BigInt(match[0]) : value;
  }
}

/** Sets a property even if its name is `__proto__`, which an assignment would take for the prototype. */
export function setOwn(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  } else {
    object[name] = value;
  }
}
