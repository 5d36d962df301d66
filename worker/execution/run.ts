/** Runs the function of a task once, within its limits. It never rejects: whatever happens is an outcome. */
import type { Clock } from '../../operator/runtime/clock.ts';
import type { TaskContext } from '../task/context.ts';
import type { Threads } from '../pool/threads.ts';
import type { Signature } from '../protocol/signature.ts';
import { reasonOfAbort, Replaced, Retry, SoftTimeLimitExceeded, TimeLimitExceeded } from '../task/errors.ts';
import type { LeftBehind } from '../pool/leftBehind.ts';
import { addTimer, cancelTimers, type Request } from './request.ts';

/** How a run ended. */
export type Outcome =
  { readonly kind: 'returned'; readonly value: unknown } | { readonly kind: 'threw'; readonly error: unknown };

/** Limits of a task's run; undefined or 0: none. */
export interface TimeLimits {
  readonly softSeconds: number | undefined;
  readonly hardSeconds: number | undefined;
}

/** What a run needs. */
export interface RunDeps {
  readonly clock: Clock;
  readonly updateState: (request: Request, state: string, meta: unknown) => void;
  readonly leftBehind: LeftBehind<Request>;
  /** Starts a child of a task. */
  readonly start: (request: Request, signature: Signature, id?: string) => string;
  /** For tasks with the option `thread`; without it they run in the main thread. */
  readonly threads?: Threads | undefined;
  /** Stand for those of a task's options, by name. */
  readonly timeLimits?: ReadonlyMap<string, TimeLimits> | undefined;
}

/** Runs it; calls `done` exactly once, with what happened first: its end or its hard limit. */
export function runTask(request: Request, deps: RunDeps, done: (outcome: Outcome) => void): void {
  const { task, message } = request;
  let isOver = false;
  const end = (outcome: Outcome): void => {
    if (isOver) return;
    isOver = true;
    if (request.timers !== undefined) cancelTimers(request);
    done(outcome);
  };
  const giveUp = (error: Error): void => {
    request.givenUp = error;
    request.abort?.abort(error);
    end({ kind: 'threw', error });
  };
  request.giveUp = giveUp;
  const set = deps.timeLimits?.get(task.name);
  const softSeconds = orNone(
    message.softTimeLimitSeconds ?? (set === undefined ? task.options.softTimeLimitSeconds : set.softSeconds),
  );
  const hardSeconds = orNone(
    message.timeLimitSeconds ?? (set === undefined ? task.options.timeLimitSeconds : set.hardSeconds),
  );
  const threads = task.options.thread === true ? deps.threads : undefined;
  if (threads === undefined && softSeconds !== undefined) {
    const abort = abortOf(request);
    addTimer(
      request,
      deps.clock.setTimer(softSeconds * 1000, () => abort.abort(new SoftTimeLimitExceeded(softSeconds))),
    );
  }
  if (hardSeconds !== undefined) {
    addTimer(
      request,
      deps.clock.setTimer(hardSeconds * 1000, () => giveUp(new TimeLimitExceeded(hardSeconds))),
    );
  }
  if (threads !== undefined) {
    const { signal } = abortOf(request);
    const onState = (state: string, meta: unknown): void => deps.updateState(request, state, meta);
    const onStart = (signature: Signature, id: string): void => void deps.start(request, signature, id);
    threads.run(request.delivery.raw, { signal, softTimeLimitSeconds: softSeconds, onState, onStart }).then(
      (value) => end({ kind: 'returned', value }),
      (error: unknown) => end({ kind: 'threw', error }),
    );
    return;
  }
  try {
    const args = task.options.parseArgs?.(message.args) ?? message.args;
    const context = new RunContext(request, deps);
    const value = deps.leftBehind.follow(request, () => task.run(context, ...(args as never[])));
    if (isThenable(value)) {
      value.then(
        (result) => end({ kind: 'returned', value: result }),
        (error: unknown) => end({ kind: 'threw', error: reasonOfAbort(error, request.abort?.signal) }),
      );
    } else end({ kind: 'returned', value });
  } catch (error) {
    end({ kind: 'threw', error: reasonOfAbort(error, request.abort?.signal) });
  }
}

/** A limit of 0 is none; taken for one that has passed, it would end the task at once. */
function orNone(seconds: number | undefined): number | undefined {
  return seconds !== undefined && seconds > 0 ? seconds : undefined;
}

/** The controller of `ctx.signal`. Made late: most tasks never look at their signal, and it costs more than they do. */
export function abortOf(request: Request): AbortController {
  request.abort ??= new AbortController();
  return request.abort;
}

/** A class, for its getters: an object of closures would cost more to make than most tasks take. */
class RunContext implements TaskContext {
  readonly id: string;
  readonly name: string;
  readonly retries: number;
  readonly #request: Request;
  readonly #deps: RunDeps;

  constructor(request: Request, deps: RunDeps) {
    this.#request = request;
    this.#deps = deps;
    const { message } = request;
    this.id = message.id;
    this.name = message.task;
    this.retries = message.retries;
  }

  get kwargs(): TaskContext['kwargs'] {
    return this.#request.message.kwargs;
  }

  get request(): TaskContext['request'] {
    return this.#request.message;
  }

  get signal(): AbortSignal {
    return abortOf(this.#request).signal;
  }

  retry({ delaySeconds, cause }: { readonly delaySeconds?: number; readonly cause?: unknown } = {}): Error {
    return new Retry(cause instanceof Error ? cause.message : undefined, { delaySeconds, cause });
  }

  send(signature: Signature): string {
    return this.#deps.start(this.#request, signature);
  }

  replace(signature: Signature): Error {
    return new Replaced(signature);
  }

  updateState(state: string, meta: unknown): void {
    this.#deps.updateState(this.#request, state, meta);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
