/** A command of remote control, and how it answers as Celery's do. */
import { reprValue } from '../../protocol/pythonRepr.ts';

/** Answers a command; `undefined` stands for Python's None. What it throws is the answer of a command that went wrong. */
export type Command = (args: Readonly<Record<string, unknown>>) => unknown;

/** Commands by name. */
export type Commands = Readonly<Record<string, Command>>;

/** What a command returns that is not answered even if a reply is wanted. */
export const noReply = Symbol('no reply');

/** Done. */
export function ok(value: unknown): { readonly ok: unknown } {
  return { ok: value };
}

/** Not done, and why. */
export function nok(value: string): { readonly error: string } {
  return { error: value };
}

/** A failure as Python shows it: `KeyError('nope')`. Clients print it as it is. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exception: string;

  constructor(exception: 'KeyError' | 'TypeError' | 'ValueError', message: string) {
    super(message);
    this.exception = exception;
  }

  /** As Python's `repr`. */
  repr(): string {
    return `${this.exception}(${reprValue(this.message)})`;
  }
}

/** A text argument. Throws CommandError when it is missing or no text. */
export function textArg(args: Readonly<Record<string, unknown>>, name: string): string {
  const value = args[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new CommandError('TypeError', value === undefined ? `missing argument: ${name}` : `${name} is not a text`);
}

/** A list of texts; one text stands for a list of one. Throws CommandError for anything else. */
export function textsArg(args: Readonly<Record<string, unknown>>, name: string): string[] {
  const value = args[name];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (value === null) return [];
  if (value !== undefined && list.every((each): each is string => typeof each === 'string')) return list;
  throw new CommandError(
    'TypeError',
    value === undefined ? `missing argument: ${name}` : `${name} is not a list of texts`,
  );
}

/** Whether an argument is true to Python: some clients send 1 for true. Missing is false. */
export function isTrueArg(args: Readonly<Record<string, unknown>>, name: string): boolean {
  const value = args[name] ?? false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value === 'object' ? Object.keys(value).length > 0 : Boolean(value);
}

/** A whole number from 1. Throws CommandError for anything else. */
export function countArg(args: Readonly<Record<string, unknown>>, name: string, fallback: number): number {
  const value = args[name] ?? fallback;
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number > 0) return number;
  throw new CommandError('ValueError', `${name} is not a whole number from 1`);
}
