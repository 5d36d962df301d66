/**
 * When a request may be sent again, and when it must be reported instead. Pure. Two questions decide: was it the
 * server's wish or a passing fault, and would doing it twice be wrong? A create whose answer was lost may have
 * happened; sending it again would answer AlreadyExists for an object of our own.
 */
import type { KubeError } from './errors.ts';

/** What is known when a try has failed. */
export interface FailedTry {
  readonly error: KubeError;
  /** Doing the request twice equals doing it once: reads, apply, merge patch, delete. */
  readonly idempotent: boolean;
  /** Whether the server may have seen any of it. */
  readonly sent: boolean;
  /** Tries before this one. */
  readonly retriesDone: number;
}

/** Limits of retrying. */
export interface RetryLimits {
  readonly maxRetries: number;
  /** First wait without a Retry-After; doubles each time. */
  readonly baseMs: number;
  /** A server that asks for more than this is not waited for here: the caller's queue can wait better. */
  readonly maxRetryAfterMs: number;
}

/**
 * Milliseconds to wait before the next try, or undefined when there must be none.
 * @param random 0 ≤ r < 1, spreads the waits of many clients
 */
export function decideRetry(failed: FailedTry, limits: RetryLimits, random: number): number | undefined {
  const { error, idempotent, sent, retriesDone } = failed;
  if (retriesDone >= limits.maxRetries) return undefined;
  const backoffMs = limits.baseMs * 2 ** retriesDone * (1 + random);
  switch (error.kind) {
    case 'tooManyRequests': // The server turned it away before doing anything: safe for every method.
      return waitMs(error.retryAfterMs, backoffMs, limits);
    case 'unavailable':
      return idempotent ? waitMs(error.retryAfterMs, backoffMs, limits) : undefined;
    case 'timeout': // "Resource version too large" is a 504 that only a different list can mend.
      return idempotent && !error.causes.includes('ResourceVersionTooLarge')
        ? waitMs(error.retryAfterMs, backoffMs, limits)
        : undefined;
    case 'transport':
      return idempotent || !sent ? backoffMs : undefined;
    case 'notFound':
    case 'conflict':
    case 'alreadyExists':
    case 'invalid':
    case 'forbidden':
    case 'unauthorized':
    case 'expired':
    case 'badRequest':
    case 'aborted':
      return undefined;
  }
}

function waitMs(retryAfterMs: number | undefined, backoffMs: number, limits: RetryLimits): number | undefined {
  if (retryAfterMs === undefined) return backoffMs;
  return retryAfterMs > limits.maxRetryAfterMs ? undefined : Math.max(retryAfterMs, backoffMs);
}
