/**
 * Waiting for the real world. A test never sleeps for a fixed time and hopes: it asks until the answer is right, and
 * fails with the last wrong one.
 */

/** How long and how often to ask, in milliseconds. */
export interface EventuallyOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/**
 * Calls `fn` until it neither throws nor rejects nor answers false; resolves to its answer. Rejects with its last error
 * after `timeoutMs` (10 s when absent).
 */
export async function eventually<T>(fn: () => T | Promise<T>, options: EventuallyOptions = {}): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 10 } = options;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      const value = await fn();
      if (value !== false) return value;
      if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${fn.toString()}`);
    } catch (err) {
      if (performance.now() > deadlineMs) throw err;
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
