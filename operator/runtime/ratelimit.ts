/**
 * How long a key that keeps failing waits. Per key and exponential, so that one broken object neither spins nor delays
 * the others.
 */

/** Counts failures of keys. */
export interface RateLimiter {
  /** Counts one failure and gives the milliseconds to wait for it. */
  nextMs(key: string): number;
  /** The key succeeded: its next failure waits the base again. */
  forget(key: string): void;
  /** Failures in a row. */
  failures(key: string): number;
}

/** Bounds of the waits, in milliseconds. */
export interface RateLimits {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * 5 ms is controller-runtime's: a write conflict is over by then. The top is a minute and not its 1000 s: a person
 * who mends a Secret or a permission that no watch reports should not wait a quarter of an hour to see it work.
 */
export const defaultRateLimits: RateLimits = { baseMs: 5, maxMs: 60_000 };

/** Builds a limiter that doubles from `baseMs` to `maxMs`. */
export function createRateLimiter(limits: RateLimits = defaultRateLimits): RateLimiter {
  const failures = new Map<string, number>();
  return {
    nextMs: (key) => {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      return Math.min(limits.maxMs, limits.baseMs * 2 ** Math.min(count, 40));
    },
    forget: (key) => void failures.delete(key),
    failures: (key) => failures.get(key) ?? 0,
  };
}
