/**
 * What a task throws to say how it ends, and what is thrown into a task. The names are Celery's (celery/exceptions.py); each
 * knows the exception that a Python client is to see.
 */
import type { PythonException } from '../protocol/failure.ts';
import type { Signature } from '../protocol/signature.ts';

/**
 * A user's module and the worker may each have a copy of this file (a bundle, or a loader of their own): `instanceof` goes by
 * the name that the class has in both.
 */
function isNamed(self: unknown, of: { readonly name: string }, value: unknown): boolean {
  // A subclass of the user's own is looked for as usual.
  if (self !== of) return Function.prototype[Symbol.hasInstance].call(self, value);
  return value instanceof Error && (value as { musterError?: unknown }).musterError === of.name;
}

/** Thrown by `ctx.retry()`: the task runs again later. */
export class Retry extends Error {
  override readonly name = 'Retry';
  readonly musterError: string = 'Retry';

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isNamed(this, Retry, value);
  }
  /** In how many seconds; undefined leaves it to the options of the task. */
  readonly delaySeconds: number | undefined;

  constructor(
    message = 'the task asked to be retried',
    options: { delaySeconds?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.delaySeconds = options.delaySeconds;
  }
}

/** Ends the task without a result: no state is stored, and nothing that was to follow is started. */
export class Ignore extends Error {
  override readonly name = 'Ignore';
  readonly musterError: string = 'Ignore';

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isNamed(this, Ignore, value);
  }
}

/** Thrown by `ctx.replace()`: another task or canvas gives the result in place of this one. */
export class Replaced extends Error {
  override readonly name = 'Replaced';
  readonly musterError: string = 'Replaced';

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isNamed(this, Replaced, value);
  }
  /** What runs instead. */
  readonly by: Signature;

  constructor(by: Signature) {
    super('the task is replaced');
    this.by = by;
  }
}

/** Refuses the message. With `requeue` it goes back to its queue, to be served last; else it is dropped. */
export class Reject extends Error {
  override readonly name = 'Reject';
  readonly musterError: string = 'Reject';

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isNamed(this, Reject, value);
  }
  readonly requeue: boolean;

  constructor(message = 'the task refused its message', options: { requeue?: boolean } = {}) {
    super(message);
    this.requeue = options.requeue ?? false;
  }
}

/** The reason of `ctx.signal` when the soft time limit has passed; also the failure if the task lets it through. */
export class SoftTimeLimitExceeded extends Error {
  override readonly name = 'SoftTimeLimitExceeded';
  readonly musterError: string = 'SoftTimeLimitExceeded';

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isNamed(this, SoftTimeLimitExceeded, value);
  }
  readonly python: PythonException;

  constructor(seconds: number) {
    super(`the soft time limit of ${seconds} s has passed`);
    this.python = { excType: 'SoftTimeLimitExceeded', excModule: 'billiard.exceptions', excArgs: [seconds] };
  }
}

/** The failure of a task whose hard time limit has passed. */
export class TimeLimitExceeded extends Error {
  override readonly name = 'TimeLimitExceeded';
  readonly musterError: string = 'TimeLimitExceeded';

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isNamed(this, TimeLimitExceeded, value);
  }
  readonly python: PythonException;

  constructor(seconds: number) {
    super(`the time limit of ${seconds} s has passed`);
    this.python = { excType: 'TimeLimitExceeded', excModule: 'billiard.exceptions', excArgs: [seconds] };
  }
}

/** The failure of a task that was revoked, or that came after its `expires`. */
export class TaskRevokedError extends Error {
  override readonly name = 'TaskRevokedError';
  readonly python: PythonException;

  constructor(reason: 'revoked' | 'terminated' | 'expired') {
    super(reason);
    this.python = { excType: 'TaskRevokedError', excModule: 'celery.exceptions', excArgs: [reason] };
  }
}

/** Ends a run whose task threw where nobody could catch it, such as in the callback of a timer. Its failure is the cause. */
export class UncaughtError extends Error {
  override readonly name = 'UncaughtError';

  constructor(cause: unknown) {
    super('an exception was caught by nobody', { cause });
  }
}

/** The failure of a message for a task that this worker does not have. */
export class NotRegistered extends Error {
  override readonly name = 'NotRegistered';
  readonly python: PythonException;

  constructor(task: string) {
    super(`no task is registered as ${task}`);
    this.python = { excType: 'NotRegistered', excModule: 'celery.exceptions', excArgs: [task] };
  }
}

/** The failure of a task that was retried as often as it may be. */
export class MaxRetriesExceededError extends Error {
  override readonly name = 'MaxRetriesExceededError';
  readonly python: PythonException;

  constructor(task: string, id: string) {
    super(`${task}[${id}] was retried as often as it may be`);
    this.python = { excType: 'MaxRetriesExceededError', excModule: 'celery.exceptions', excArgs: [this.message] };
  }
}

/**
 * What a task really failed with: Node's own functions throw an AbortError when `ctx.signal` aborts, whatever the reason was.
 * Clients are to see the reason: that the soft time limit has passed.
 */
export function reasonOfAbort(error: unknown, signal: AbortSignal | undefined): unknown {
  const isAbort = error instanceof Error && error.name === 'AbortError';
  return isAbort && signal?.aborted === true && signal.reason instanceof SoftTimeLimitExceeded ? signal.reason : error;
}
