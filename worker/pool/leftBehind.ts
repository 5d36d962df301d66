/**
 * Promises that a task leaves behind. One that is rejected with nobody waiting for it belongs to the task that made it, and
 * is the failure of that task: the context of an async call says whose it is. It shows a turn of the event loop later, so
 * a task's outcome stands only then. (A promise that is rejected after that can only be told.)
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** Whoever may be blamed: the run of a task. */
export interface Maker {
  /** A promise that it made, that was rejected, and that nobody waits for. */
  leftBehind: { readonly promise: object; readonly error: unknown } | undefined;
}

/** Follows the promises of runs. */
export interface LeftBehind<Run extends Maker> {
  /** Runs the function of a task as its own. */
  follow<T>(run: Run, fn: () => T): T;
  /** Whose code runs now, or has just thrown what nobody caught; undefined for that of no run, or when it is not known. */
  current(): Run | undefined;
  /**
   * A promise was rejected and nobody waits for it. Gives the run that made it, if one did; that is blamed unless it waits
   * for it after all.
   */
  rejected(promise: object, error: unknown): Run | undefined;
  /** Somebody waits for it after all. */
  handled(promise: object): void;
}

/** Builds it; whoever owns the process calls `rejected` and `handled`. */
export function createLeftBehind<Run extends Maker>(): LeftBehind<Run> {
  const context = new AsyncLocalStorage<Run>();
  const makers = new WeakMap<object, Run>();
  return {
    follow: (run, fn) => context.run(run, fn),
    current: () => context.getStore(),
    rejected(promise, error) {
      const run = context.getStore();
      if (run === undefined) return undefined;
      makers.set(promise, run);
      run.leftBehind ??= { promise, error };
      return run;
    },
    handled(promise) {
      const run = makers.get(promise);
      if (run?.leftBehind?.promise === promise) run.leftBehind = undefined;
    },
  };
}
