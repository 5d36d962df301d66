/**
 * Errors on the wire: `{exc_type, exc_message, exc_module}`, from which a Python client makes an exception that it can raise.
 * Source: celery/backends/base.py (`prepare_exception`, `exception_to_python`).
 *
 * A Python client looks the type up in the module if that is loaded, else it makes a class of that name; a name in
 * `builtins` that is no exception would be a SecurityError there. So only errors that both languages know go to `builtins`.
 */
import { malformed, type Parsed } from './errors.ts';
import { encodeJson } from './kombuJson.ts';
import { isRecord } from './signature.ts';

/** An error as it is stored in a result. */
export interface Failure {
  /** The name of the class; dots for nested ones. */
  readonly exc_type: string;
  /** The arguments of the exception; for an error of JavaScript its message. */
  readonly exc_message: readonly unknown[];
  readonly exc_module: string;
}

/** An error can say how a Python client shall see it. */
export interface PythonException {
  readonly excType: string;
  readonly excModule: string;
  /** Default: the message. */
  readonly excArgs?: readonly unknown[];
}

/** The module of errors that Python has no class for. It is loaded nowhere, so a client makes a class of the name. */
export const javascriptModule = 'javascript';

/** The module of Celery's own exceptions (`Retry`, `TaskRevokedError`, `SoftTimeLimitExceeded` is billiard's). */
export const celeryExceptions = 'celery.exceptions';

/** Errors of JavaScript that have a Python exception of the same name and meaning. */
const builtins: ReadonlySet<string> = new Set(['TypeError', 'SyntaxError', 'ReferenceError']);
const pythonNames: Readonly<Record<string, string>> = { ReferenceError: 'NameError' };

/**
 * The failure of anything that was thrown. An error with a `python` field ({@link PythonException}) is what that says;
 * TypeError and SyntaxError are Python's, ReferenceError is NameError; others keep their name in module `javascript`.
 */
export function describeError(thrown: unknown): Failure {
  if (!(thrown instanceof Error)) {
    return { exc_type: 'Error', exc_message: [describeThrown(thrown)], exc_module: javascriptModule };
  }
  const python = readPython(thrown);
  if (python !== undefined) return python;
  const name = errorName(thrown);
  return {
    exc_type: pythonNames[name] ?? name,
    exc_message: [thrown.message],
    exc_module: builtins.has(name) ? 'builtins' : javascriptModule,
  };
}

function readPython(error: Error): Failure | undefined {
  const { python } = error as { python?: unknown };
  if (!isRecord(python)) return undefined;
  const { excType, excModule, excArgs } = python;
  if (typeof excType !== 'string' || typeof excModule !== 'string' || !isPythonName(excType)) return undefined;
  return {
    exc_type: excType,
    exc_message: Array.isArray(excArgs) ? excArgs.map(writable) : [error.message],
    exc_module: excModule,
  };
}

/** As Celery's ensure_serializable: what JSON cannot hold becomes a text. */
function writable(value: unknown): unknown {
  try {
    encodeJson(value);
    return value;
  } catch {
    return describeThrown(value);
  }
}

/** The name that a developer knows the error by: its own `name`, or its class if that was not given one. */
function errorName(error: Error): string {
  const { name } = error;
  const className = error.constructor.name;
  const chosen = name === 'Error' && className !== '' ? className : name;
  return isPythonName(chosen) ? chosen : 'Error';
}

/** Python makes a class of that name: a name with other characters would end the client with another error. */
function isPythonName(name: unknown): boolean {
  return typeof name === 'string' && /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/.test(name);
}

function describeThrown(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown;
  if (thrown instanceof Error) return `${thrown.name}: ${thrown.message}`;
  // These have no JSON.
  if (['bigint', 'function', 'symbol'].includes(typeof thrown)) return String(thrown);
  try {
    return thrown === undefined ? 'undefined' : JSON.stringify(thrown);
  } catch {
    return Object.prototype.toString.call(thrown);
  }
}

/** Reads a failure; a list of arguments that is a single value becomes a list of it. Never throws. */
export function parseFailure(value: unknown): Parsed<Failure> {
  if (!isRecord(value)) return malformed('the failure is not an object');
  const { exc_type: type, exc_message: message, exc_module: module } = value;
  if (typeof type !== 'string') return malformed('the failure names no exc_type');
  let args: readonly unknown[] = [];
  if (Array.isArray(message)) args = message as readonly unknown[];
  else if (message !== undefined && message !== null) args = [message];
  return {
    kind: 'ok',
    value: { exc_type: type, exc_message: args, exc_module: typeof module === 'string' ? module : celeryExceptions },
  };
}

/** A failure of a task that ran elsewhere, as an error to throw here. */
export class RemoteTaskError extends Error {
  /** The name of the exception's class where it was raised. */
  readonly excType: string;
  readonly excModule: string;
  /** The arguments that it was raised with. */
  readonly excArgs: readonly unknown[];
  /** The traceback of the worker. */
  readonly traceback: string | undefined;
  /** So that a task that lets it through fails with the same exception. */
  readonly python: PythonException;

  constructor(failure: Failure, traceback?: string) {
    const shown = failure.exc_message.map((arg) => (typeof arg === 'string' ? arg : describeThrown(arg))).join(', ');
    super(shown === '' ? failure.exc_type : `${failure.exc_type}: ${shown}`);
    this.name = 'RemoteTaskError';
    this.excType = failure.exc_type;
    this.excModule = failure.exc_module;
    this.excArgs = failure.exc_message;
    this.traceback = traceback;
    this.python = { excType: failure.exc_type, excModule: failure.exc_module, excArgs: failure.exc_message };
  }
}

/** How many errors of a chain of causes are shown. */
const maxCauses = 10;

/**
 * The stack of an error in the form of a Python traceback (innermost call last, causes first), which Flower shows and which
 * `tblib` in a client with `task_remote_tracebacks` can parse; it fails on any other form.
 */
export function formatTraceback(thrown: unknown): string {
  const parts: string[] = [];
  let current: unknown = thrown;
  while (current !== undefined && parts.length < maxCauses) {
    parts.unshift(formatOne(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join('\nThe above exception was the direct cause of the following exception:\n\n');
}

function formatOne(thrown: unknown): string {
  const { exc_type: type, exc_message: args } = describeError(thrown);
  const message = args.map((arg) => (typeof arg === 'string' ? arg : describeThrown(arg))).join(', ');
  const frames = thrown instanceof Error ? readFrames(thrown.stack) : [];
  const last = message === '' ? type : `${type}: ${message}`;
  return `Traceback (most recent call last):\n${frames.join('')}${last}\n`;
}

const frame = /^\s+at (?:async )?(?:(.+?) \()?(?:file:\/\/)?(.+?):(\d+):\d+\)?$/;

function readFrames(stack: string | undefined): string[] {
  const frames: string[] = [];
  for (const line of (stack ?? '').split('\n')) {
    const match = frame.exec(line);
    if (match === null) continue;
    const [, name = '<anonymous>', file = '', lineNumber = ''] = match;
    frames.unshift(`  File "${file}", line ${lineNumber}, in ${name}\n`);
  }
  return frames;
}
