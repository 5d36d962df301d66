/** Whether and when a task that failed runs again. Pure: the random number is passed in. */
import type { TaskOptions } from './define.ts';
import { Retry } from './errors.ts';

/** What happens after an error. */
export type RetryDecision =
  /** A delay that is no number of seconds is passed on as it is: whoever sends the message fails the task with it. */
  | { readonly kind: 'retry'; readonly delaySeconds: number }
  /** It asked for a retry, and was retried as often as it may be. */
  | { readonly kind: 'exhausted' }
  | { readonly kind: 'fail' };

const defaults = { maxRetries: 3, retryDelaySeconds: 180, retryBackoffMaxSeconds: 600 } as const;

/**
 * Decides. Source of the rules: celery/app/task.py (`retry`), celery/app/autoretry.py, celery/utils/time.py
 * (`get_exponential_backoff_interval`).
 * @param retries how often it was retried already
 * @param random from 0 to 1, for the jitter
 */
export function decideRetry(error: unknown, options: TaskOptions, retries: number, random: number): RetryDecision {
  const asked = error instanceof Retry;
  if (!asked && !isRetryable(error, options)) return { kind: 'fail' };
  if (retries >= (options.maxRetries ?? defaults.maxRetries)) return asked ? { kind: 'exhausted' } : { kind: 'fail' };
  if (asked && error.delaySeconds !== undefined) {
    const { delaySeconds } = error;
    return { kind: 'retry', delaySeconds: Number.isFinite(delaySeconds) ? Math.max(0, delaySeconds) : delaySeconds };
  }
  const { retryBackoffSeconds: first } = options;
  if (first === undefined || first === 0) {
    return { kind: 'retry', delaySeconds: options.retryDelaySeconds ?? defaults.retryDelaySeconds };
  }
  const most = options.retryBackoffMaxSeconds ?? defaults.retryBackoffMaxSeconds;
  const backoff = Math.min(most, first * 2 ** Math.min(retries, 50));
  return { kind: 'retry', delaySeconds: (options.retryJitter ?? true) ? backoff * random : backoff };
}

function isRetryable(error: unknown, { autoretryFor }: TaskOptions): boolean {
  if (autoretryFor === undefined) return false;
  if (autoretryFor === true) return error instanceof Error;
  return autoretryFor.some((each) =>
    typeof each === 'string'
      ? error instanceof Error && error.name === each
      : error instanceof each || classesOf(error).includes(each.name),
  );
}

/** An error of a worker thread arrives without its class, and with the names of those that it had. */
function classesOf(error: unknown): readonly string[] {
  return (error as { musterClasses?: readonly string[] } | null | undefined)?.musterClasses ?? [];
}
