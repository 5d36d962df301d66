/** The tasks of this worker. Every export that `task(…)` made is one; a Celery client calls it by its name. */
import { task } from 'muster/worker';

/** Waits for the network, not for the CPU: many of these run at once in one process. */
export const measure = task('pages.measure', { timeLimitSeconds: 300 }, async (ctx, url: string) => {
  // The signal aborts when the time is up, the task is revoked or the worker must end; the request ends with it.
  const response = await fetch(url, { signal: ctx.signal });
  const body = await response.arrayBuffer();
  return { status: response.status, bytes: body.byteLength };
});

/** Computes. In a thread of its own it holds up no other task, and its time limit really ends it. */
export const countPrimes = task('primes.count', { thread: true, timeLimitSeconds: 60 }, (_ctx, below: number) => {
  if (!Number.isInteger(below)) throw new TypeError(`primes are counted below a whole number, not below ${below}`);
  let primes = 0;
  for (let candidate = 2; candidate < below; candidate += 1) if (isPrime(candidate)) primes += 1;
  return primes;
});

function isPrime(candidate: number): boolean {
  for (let divisor = 2; divisor * divisor <= candidate; divisor += 1) if (candidate % divisor === 0) return false;
  return true;
}

/** A receiver that is not well at the moment. */
class ReceiverError extends Error {}

/**
 * Calls a web hook. A receiver that is down or answers 5xx is tried again after up to 1, 2, 4, 8 and 16 seconds; one that
 * says no (4xx) is not.
 */
export const notify = task(
  'hooks.notify',
  { timeLimitSeconds: 30, autoretryFor: [ReceiverError], maxRetries: 5, retryBackoffSeconds: 1 },
  async (ctx, url: string, text: string) => {
    const response = await fetch(url, { method: 'POST', body: text, signal: ctx.signal }).catch((cause: unknown) => {
      throw new ReceiverError(`${url} cannot be reached`, { cause });
    });
    if (response.status >= 500) throw new ReceiverError(`${url} answered ${response.status}`);
    if (!response.ok) throw new Error(`${url} refused the text with ${response.status}`);
    return { attempts: ctx.retries + 1 };
  },
);
