/**
 * How Python shows values: the headers `argsrepr` and `kwargsrepr` and the events of a task carry it, and Flower and
 * `celery inspect` show it. Source: celery/utils/saferepr.py, celery/app/amqp.py (`argsrepr_maxsize`).
 */
import { CeleryDate, CeleryDateTime, CeleryTime, Decimal, Uuid } from './values.ts';
import { formatIsoTime } from './isoTime.ts';

/** The longest text that Celery puts into the headers. */
export const maxReprCharacters = 1024;

/** How deep Celery shows values. */
const maxShownDepth = 3;

/** Positional arguments as a Python tuple: `(2, 'a')`. At most {@link maxReprCharacters}, then `...`. */
export function reprArgs(args: readonly unknown[]): string {
  const writer = new Writer();
  writer.add('(');
  writer.addItems(args, 1);
  if (args.length === 1) writer.add(',');
  writer.add(')');
  return writer.text;
}

/** A value as Python shows it: keyword arguments `{'a': 1}`, a result `[True, None]`. */
export function reprValue(value: unknown): string {
  const writer = new Writer();
  writer.addValue(value, 0);
  return writer.text;
}

/** Stops at the limit, so that a huge argument costs nothing. */
class Writer {
  #text = '';

  get text(): string {
    return this.#text.length > maxReprCharacters ? `${this.#text.slice(0, maxReprCharacters)}...` : this.#text;
  }

  get #isFull(): boolean {
    return this.#text.length > maxReprCharacters;
  }

  add(text: string): void {
    this.#text += text;
  }

  addItems(items: readonly unknown[], depth: number): void {
    for (let i = 0; i < items.length && !this.#isFull; i += 1) {
      if (i > 0) this.add(', ');
      this.addValue(items[i], depth);
    }
  }

  addValue(value: unknown, depth: number): void {
    if (typeof value !== 'object' || value === null) this.add(reprScalar(value));
    else if (Array.isArray(value)) this.#addNested('[', ']', depth, () => this.addItems(value as unknown[], depth + 1));
    else this.#addObject(value, depth);
  }

  #addNested(open: string, close: string, depth: number, addContent: () => void): void {
    this.add(open);
    if (depth >= maxShownDepth) this.add('...');
    else addContent();
    this.add(close);
  }

  #addObject(value: object, depth: number): void {
    const special = reprSpecial(value);
    if (special !== undefined) {
      this.add(special);
      return;
    }
    this.#addNested('{', '}', depth, () => {
      let isFirst = true;
      for (const [name, field] of Object.entries(value)) {
        if (field === undefined) continue;
        if (this.#isFull) return;
        this.add(`${isFirst ? '' : ', '}${reprText(name)}: `);
        this.addValue(field, depth + 1);
        isFirst = false;
      }
    });
  }
}

function reprScalar(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return reprText(value);
    case 'boolean':
      return value ? 'True' : 'False';
    case 'number':
      if (Number.isNaN(value)) return 'nan';
      if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
      return Object.is(value, -0) ? '-0.0' : String(value);
    case 'bigint':
      return value.toString();
    default:
      return 'None';
  }
}

function reprSpecial(value: object): string | undefined {
  if (value instanceof CeleryDateTime && value.iso !== undefined) return `datetime(${reprText(value.iso)})`;
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? 'None' : `datetime(${reprText(formatIsoTime(value.getTime()))})`;
  }
  if (value instanceof CeleryDate) return `date(${reprText(value.iso)})`;
  if (value instanceof CeleryTime) return `time(${reprText(value.iso)})`;
  if (value instanceof Decimal) return `Decimal(${reprText(value.text)})`;
  if (value instanceof Uuid) return `UUID(${reprText(value.toString())})`;
  if (value instanceof Uint8Array) return `<${value.byteLength} bytes>`;
  return undefined;
}

/** Python prefers single quotes, unless there is one inside and no double one. */
function reprText(text: string): string {
  const cut = text.length > maxReprCharacters ? `${text.slice(0, maxReprCharacters)}...` : text;
  const mark = cut.includes("'") && !cut.includes('"') ? '"' : "'";
  const escaped = cut.replace(/[\\'"\u0000-\u001f\u007f-\u00a0\u00ad]/g, (char) => escapeChar(char, mark));
  return `${mark}${escaped}${mark}`;
}

const shortEscapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escapeChar(char: string, mark: string): string {
  if (char === "'" || char === '"') return char === mark ? `\\${char}` : char;
  return shortEscapes[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
