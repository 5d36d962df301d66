/**
 * Time, injected. Everything that waits or reads a clock takes a `Clock`, so that tests step time instead of sleeping
 * and the pure core never reads it at all.
 */

/** A timer that has been set and can be called off. */
export interface Timer {
  /** Calls the timer off; harmless when it has fired already. */
  cancel(): void;
}

/** Wall time, monotonic time and waiting. */
export interface Clock {
  /** Milliseconds since the epoch. May jump: use it for what people read, never to measure. */
  now(): number;
  /** Milliseconds from an arbitrary start that never go back: for ages and deadlines. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once (without an error) when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fn` once after `ms`. Does not keep the process alive. */
  setTimer(ms: number, fn: () => void): Timer;
}

/** Timers of Node overflow beyond 2^31 ms and fire at once: a longer wait is made of several. */
const longestTimerMs = 2_000_000_000;

function startTimer(ms: number, fn: () => void, keepsProcess: boolean): Timer {
  let handle: NodeJS.Timeout;
  const wait = (leftMs: number): void => {
    handle =
      leftMs > longestTimerMs
        ? setTimeout(() => wait(leftMs - longestTimerMs), longestTimerMs)
        : setTimeout(fn, leftMs);
    if (!keepsProcess) handle.unref();
  };
  wait(ms);
  return { cancel: () => clearTimeout(handle) };
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const onAbort = (): void => {
        timer.cancel();
        resolve();
      };
      const timer = startTimer(
        ms,
        () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        true,
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
  setTimer: (ms, fn) => startTimer(ms, fn, false),
};
