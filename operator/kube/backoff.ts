/**
 * How long to wait after the n-th failure in a row: doubling, spread by jitter, and forgotten after a healthy while.
 * Without jitter every replica and every informer would come back to a restarted API server in the same millisecond.
 */
import type { Clock } from '../runtime/clock.ts';

/** Bounds of a backoff, all in milliseconds except jitter. */
export interface BackoffLimits {
  readonly baseMs: number;
  readonly maxMs: number;
  /** Each wait is between 1 and 1 + jitter times the current one. */
  readonly jitter: number;
  /** A failure later than this after the one before starts again at the base. */
  readonly resetAfterMs: number;
}

/** Counts failures. */
export interface Backoff {
  /** Milliseconds to wait now; the next call gives about twice as much. */
  nextMs(): number;
}

/** Builds a backoff. `random` gives 0 ≤ r < 1. */
export function createBackoff(clock: Clock, random: () => number, limits: BackoffLimits): Backoff {
  let currentMs = limits.baseMs;
  let lastMs: number | undefined;
  return {
    nextMs: () => {
      const nowMs = clock.monotonicMs();
      if (lastMs !== undefined && nowMs - lastMs > limits.resetAfterMs) currentMs = limits.baseMs;
      const waitMs = Math.min(limits.maxMs, currentMs * (1 + random() * limits.jitter));
      currentMs = Math.min(limits.maxMs, currentMs * 2);
      lastMs = nowMs + waitMs;
      return waitMs;
    },
  };
}
