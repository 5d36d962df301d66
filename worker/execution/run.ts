/** Runs the function of a task once, within its limits. It never rejects: whatever happens is an outcome. */
import type { Clock } from '../../operator/runtime/clock.ts';
import type { TaskContext } from '../task/context.ts';
import { Retry, SoftTimeLimitExceeded, TimeLimitExceeded } from '../task/errors.ts';
import { cancelTimers, type Request } from './request.ts';

/** How a run ended. */
export type Outcome =
  { readonly kind: 'returned'; readonly value: unknown } | { readonly kind: 'threw'; readonly error: unknown };

/** What a run needs. */
export interface RunDeps {
  readonly clock: Clock;
  readonly updateState: (request: Request, state: string, meta: unknown) => void;
}

/** Runs it; calls `done` exactly once, with what happened first: its end or its hard limit. */
export function runTask(request: Request, deps: RunDeps, done: (outcome: Outcome) => void): void {
  const { task, message, timers } = request;
  let isOver = false;
  const end = (outcome: Outcome): void => {
    if (isOver) return;
    isOver = true;
    if (timers.size > 0) cancelTimers(request);
    done(outcome);
  };
  const giveUp = (error: Error): void => {
    request.givenUp = error;
    request.abort?.abort(error);
    end({ kind: 'threw', error });
  };
  const softSeconds = message.softTimeLimitSeconds ?? task.options.softTimeLimitSeconds;
  const hardSeconds = message.timeLimitSeconds ?? task.options.timeLimitSeconds;
  if (softSeconds !== undefined && softSeconds > 0) {
    const abort = abortOf(request);
    timers.add(deps.clock.setTimer(softSeconds * 1000, () => abort.abort(new SoftTimeLimitExceeded(softSeconds))));
  }
  if (hardSeconds !== undefined && hardSeconds > 0) {
    timers.add(deps.clock.setTimer(hardSeconds * 1000, () => giveUp(new TimeLimitExceeded(hardSeconds))));
  }
  try {
    const args = task.options.parseArgs?.(message.args) ?? message.args;
    const value = task.run(contextOf(request, deps), ...(args as never[]));
    if (isThenable(value)) {
      value.then(
        (result) => end({ kind: 'returned', value: result }),
        (error: unknown) => end({ kind: 'threw', error }),
      );
    } else end({ kind: 'returned', value });
  } catch (error) {
    end({ kind: 'threw', error });
  }
}

/** The controller of `ctx.signal`. Made late: most tasks never look at their signal, and it costs more than they do. */
export function abortOf(request: Request): AbortController {
  request.abort ??= new AbortController();
  return request.abort;
}

function contextOf(request: Request, deps: RunDeps): TaskContext {
  const { message } = request;
  return {
    id: message.id,
    name: message.task,
    retries: message.retries,
    kwargs: message.kwargs,
    request: message,
    get signal() {
      return abortOf(request).signal;
    },
    retry: ({ delaySeconds, cause } = {}) =>
      new Retry(cause instanceof Error ? cause.message : undefined, { delaySeconds, cause }),
    updateState: (state, meta) => deps.updateState(request, state, meta),
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
