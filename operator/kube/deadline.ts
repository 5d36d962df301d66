/**
 * A time limit joined to the caller's own signal. `AbortSignal.any` is not used: joined to a signal that lives as long
 * as the process it keeps every request in memory on Node 20.
 */
import type { Clock } from '../runtime/clock.ts';

/** A signal that aborts on a deadline or with its parent. */
export interface Deadline {
  /** When it was set, monotonic milliseconds. */
  readonly startMs: number;
  readonly signal: AbortSignal;
  /** Whether it was the time limit that ended it. */
  isTimedOut(): boolean;
  /** Whether it was the parent that ended it. */
  isCancelled(): boolean;
  /** Lifts the time limit; the parent still counts. */
  liftTimeout(): void;
  /** Aborts by hand. */
  abort(): void;
  /** Must be called at the end: takes the timer and the listener away. */
  clear(): void;
}

/** Starts a deadline of `ms` milliseconds. */
export function createDeadline(clock: Clock, ms: number, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  let timedOut = false;
  const timer = clock.setTimer(ms, () => {
    timedOut = true;
    controller.abort();
  });
  const onParent = (): void => controller.abort();
  if (parent?.aborted === true) onParent();
  else parent?.addEventListener('abort', onParent, { once: true });
  return {
    startMs: clock.monotonicMs(),
    signal: controller.signal,
    isTimedOut: () => timedOut,
    isCancelled: () => parent?.aborted === true,
    liftTimeout: () => timer.cancel(),
    abort: onParent,
    clear: () => {
      timer.cancel();
      parent?.removeEventListener('abort', onParent);
    },
  };
}
