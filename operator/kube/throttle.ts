/**
 * A token bucket in front of the API server, for clusters whose owner wants one. Off by default: the server's own
 * priority and fairness is the better judge, and a client-side limit only hides from it what is waiting.
 */
import type { Clock } from '../runtime/clock.ts';

/** Lets a request through, at once or later. */
export interface Throttle {
  /** Resolves to the milliseconds waited. */
  take(signal?: AbortSignal): Promise<number>;
}

/** Requests a second on average, and how many may come at once. */
export interface ThrottleLimits {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

/** Builds the limiter; without limits it lets everything through. */
export function createThrottle(clock: Clock, limits?: ThrottleLimits): Throttle {
  if (limits === undefined) return { take: () => Promise.resolve(0) };
  const { requestsPerSecond, burst } = limits;
  let tokens = burst;
  let atMs = clock.monotonicMs();
  return {
    take: async (signal) => {
      const nowMs = clock.monotonicMs();
      tokens = Math.min(burst, tokens + ((nowMs - atMs) / 1000) * requestsPerSecond);
      atMs = nowMs;
      tokens -= 1; // Below zero is a place in the queue: callers pass in the order in which they came.
      if (tokens >= 0) return 0;
      const waitMs = (-tokens / requestsPerSecond) * 1000;
      await clock.sleep(waitMs, signal);
      return waitMs;
    },
  };
}
