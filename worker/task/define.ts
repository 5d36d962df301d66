/** Tasks as a user writes them: a name, options and a function. */
import type { TaskContext } from './context.ts';
import { parseRate } from './rate.ts';

/** How a task runs. */
export interface TaskOptions {
  /** The task is given up after this many seconds, and its slot is free again. Default: never. A message may say otherwise. */
  readonly timeLimitSeconds?: number;
  /**
   * Runs in a worker thread: for work that uses the CPU, and for a time limit that really ends it (in the main thread a
   * function that goes on after its limit only loses its slot). Arguments and result are copied. Default: false.
   */
  readonly thread?: boolean;
  /** After this many seconds `ctx.signal` aborts, so that the task can end in order. Default: never. */
  readonly softTimeLimitSeconds?: number;
  /** How often the task is retried at most. Default: 3, as in Celery. */
  readonly maxRetries?: number;
  /** Errors after which it is retried by itself: classes, names, or `true` for every error. Default: none. */
  readonly autoretryFor?: true | readonly (string | (abstract new (...args: never[]) => Error))[];
  /** Seconds before a retry that names no delay. Default: 180, as in Celery. */
  readonly retryDelaySeconds?: number;
  /** Doubles from this many seconds with each automatic retry, instead of `retryDelaySeconds`. Default: off. */
  readonly retryBackoffSeconds?: number;
  /** The most that the backoff grows to. Default: 600. */
  readonly retryBackoffMaxSeconds?: number;
  /** Whether the backoff is a random number up to itself, so that retries do not come in flocks. Default: true. */
  readonly retryJitter?: boolean;
  /**
   * Checks the arguments of a message before the task runs, and gives those that it is called with; what it throws is the
   * failure of the task. The `parse` of a zod tuple fits. Default: they are passed as they came.
   */
  readonly parseArgs?: (args: readonly unknown[]) => readonly unknown[];
  /** No result is stored. Default: false; a message may ask for it too. */
  readonly ignoreResult?: boolean;
  /** How many may start per second, minute or hour in one worker: `10/s`, `5/m`, `100/h`, or a number per second. Default: any. */
  readonly rateLimit?: string | number;
  /** Whether STARTED is stored when the task begins. Default: false. */
  readonly trackStarted?: boolean;
}

/** A task that can be run, and sent by its client with the right arguments. */
export interface Task<Args extends unknown[] = never[], Result = unknown> {
  readonly kind: 'muster.task';
  /** The name in messages, as Celery's clients use it: `images.resize`. */
  readonly name: string;
  readonly options: TaskOptions;
  readonly run: (ctx: TaskContext, ...args: Args) => Result | Promise<Result>;
}

/**
 * Defines a task.
 * @throws TypeError for a name that is empty or an option that is out of range
 */
export function task<Args extends unknown[], Result>(
  name: string,
  options: TaskOptions,
  run: (ctx: TaskContext, ...args: Args) => Result | Promise<Result>,
): Task<Args, Result> {
  if (name.trim() === '') throw new TypeError('a task needs a name, such as images.resize');
  for (const [option, value] of Object.entries(options)) {
    const isCount = option === 'maxRetries';
    if (typeof value === 'number' && !(value >= 0 && Number.isFinite(value) && (!isCount || Number.isInteger(value)))) {
      throw new TypeError(`task ${name}: ${option} is ${value}, not a number from 0`);
    }
  }
  if (parseRate(options.rateLimit) === undefined) {
    throw new TypeError(
      `task ${name}: rateLimit is ${String(options.rateLimit)}, not a rate such as 10/s, 5/m or 100/h`,
    );
  }
  return { kind: 'muster.task', name, options, run };
}

/** Whether a value (an export of a tasks file) is a task. */
export function isTask(value: unknown): value is Task {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'muster.task';
}
