/**
 * How Python shows values: the headers `argsrepr` and `kwargsrepr` and the events of a task carry it, and Flower and
 * `celery inspect` show it. Source: celery/utils/saferepr.py, celery/app/amqp.py (`argsrepr_maxsize`).
 */
import { CeleryDate, CeleryDateTime, CeleryTime, Decimal, Uuid } from './values.ts';

/** Celery stops showing values after about this many characters. */
export const maxReprCharacters = 1024;

/** How deep Celery shows values. */
const maxShownDepth = 3;

/** Positional arguments as a Python tuple: `(2, 'a')`; about {@link maxReprCharacters}, and then `...`. */
export function reprArgs(args: readonly unknown[]): string {
  const writer = new Writer();
  writer.addNested('(', args.length === 1 ? ',)' : ')', 0, () => writer.addItems(args, 1));
  return writer.text;
}

/** A value as Python shows it: keyword arguments `{'a': 1}`, a result `[True, None]`. */
export function reprValue(value: unknown): string {
  const writer = new Writer();
  writer.addValue(value, 0);
  return writer.text;
}

/** Stops at the limit as saferepr does: what is open then is closed, the rest left out. */
class Writer {
  #text = '';
  #left = maxReprCharacters;
  #isCut = false;

  get text(): string {
    return this.#text;
  }

  #add(token: string): void {
    if (this.#isCut) return;
    if (this.#left <= 0) {
      this.#isCut = true;
      this.#text += ', ...';
      return;
    }
    this.#text += token;
    this.#left -= token.length;
  }

  addNested(open: string, close: string, depth: number, addContent: () => void): void {
    if (depth >= maxShownDepth) {
      this.#add(`${open}...${close}`);
      return;
    }
    this.#add(open);
    // One that was not opened is not closed either.
    if (this.#isCut) return;
    addContent();
    this.#text += close;
    this.#left -= close.length;
  }

  addItems(items: readonly unknown[], depth: number): void {
    for (let i = 0; i < items.length && !this.#isCut; i += 1) {
      if (i > 0) this.#add(', ');
      this.addValue(items[i], depth);
    }
  }

  addValue(value: unknown, depth: number): void {
    if (typeof value === 'string') this.#addText(value);
    else if (typeof value !== 'object' || value === null) this.#add(reprScalar(value));
    else if (Array.isArray(value)) this.addNested('[', ']', depth, () => this.addItems(value as unknown[], depth + 1));
    else this.#addObject(value, depth);
  }

  /** saferepr escapes nothing but the quote, and cuts a text before its last blank. */
  #addText(text: string): void {
    const left = Math.max(1, this.#left);
    const cut = text.length >= left ? `${text.slice(0, left).replace(/ [^ ]*$/, '')}...` : text;
    this.#add(`'${cut.replaceAll("'", "\\'")}'`);
  }

  #addObject(value: object, depth: number): void {
    const special = reprSpecial(value);
    if (special !== undefined) {
      this.#add(special);
      return;
    }
    this.addNested('{', '}', depth, () => {
      let isFirst = true;
      for (const [name, field] of Object.entries(value)) {
        if (field === undefined) continue;
        if (this.#isCut) return;
        if (!isFirst) this.#add(', ');
        this.#addText(name);
        this.#add(': ');
        this.addValue(field, depth + 1);
        isFirst = false;
      }
    });
  }
}

function reprScalar(value: unknown): string {
  switch (typeof value) {
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
  if (value instanceof CeleryDateTime && value.iso !== undefined) return `datetime(${quoted(value.iso)})`;
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? 'None' : `datetime(${quoted(value.toISOString())})`;
  }
  if (value instanceof CeleryDate) return `date(${quoted(value.iso)})`;
  if (value instanceof CeleryTime) return `time(${quoted(value.iso)})`;
  if (value instanceof Decimal) return `Decimal(${quoted(value.text)})`;
  if (value instanceof Uuid) return `UUID(${quoted(value.toString())})`;
  if (value instanceof Uint8Array) return `<${value.byteLength} bytes>`;
  return undefined;
}

function quoted(text: string): string {
  return `'${text}'`;
}
