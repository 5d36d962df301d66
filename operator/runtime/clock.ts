/**
 * Time, injected. Everything that waits or reads a clock takes a `Clock`, so that tests step time instead of sleeping
 * and the pure core never reads it at all.
 */
import { setTimeout as sleepMs } from 'node:timers/promises';

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

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await sleepMs(ms, undefined, signal === undefined ? {} : { signal });
    } catch (err) {
      if (!(err instanceof Error && err.name === 'AbortError')) throw err;
    }
  },
  setTimer: (ms, fn) => {
    const handle = setTimeout(fn, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};
