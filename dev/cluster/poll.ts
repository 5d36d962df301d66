// Waiting for something that can only be asked, not subscribed to.

/** A wait that took longer than it was allowed to. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/**
 * Asks `isTrue` every `intervalMs` (default 40) until it says yes. Throws TimeoutError naming `what` after `timeoutMs`,
 * and whatever `isTrue` throws, which is how it says that waiting longer is useless.
 */
export async function waitUntil(
  what: string,
  isTrue: () => Promise<boolean>,
  { timeoutMs, intervalMs = 40 }: { timeoutMs: number; intervalMs?: number },
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > deadlineMs) throw new TimeoutError(`${what}: not after ${timeoutMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
