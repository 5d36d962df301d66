/** A clock that stands still until the test steps it, so that no test waits for time and none depends on its speed. */
import type { Clock } from '../../operator/runtime/clock.ts';

/** A Clock with its hand outside. */
export interface SteppedClock extends Clock {
  /** Moves time on, firing what becomes due in order; lets what they woke run in between. */
  step(ms: number): Promise<void>;
  /** Moves only the wall clock, as an NTP correction or a wrong machine does. */
  skew(ms: number): void;
  /** Timers and sleeps that have not fired. */
  readonly pending: number;
}

interface Waiting {
  readonly dueMs: number;
  readonly fire: () => void;
}

/** Lets promises and already queued callbacks run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Builds a clock. @param startMs wall time at the start, milliseconds since the epoch */
export function createSteppedClock(startMs = Date.UTC(2026, 0, 1)): SteppedClock {
  let nowMs = 0;
  let skewMs = startMs;
  const waiting = new Set<Waiting>();

  const wait = (ms: number, fire: () => void): { cancel: () => void } => {
    const entry = { dueMs: nowMs + Math.max(0, ms), fire };
    waiting.add(entry);
    return { cancel: () => void waiting.delete(entry) };
  };

  return {
    now: () => nowMs + skewMs,
    monotonicMs: () => nowMs,
    setTimer: wait,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) {
          resolve();
          return;
        }
        const timer = wait(ms, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        const onAbort = (): void => {
          timer.cancel();
          resolve();
        };
        signal?.addEventListener('abort', onAbort, { once: true });
      }),
    step: async (ms) => {
      const endMs = nowMs + ms;
      await settle();
      for (;;) {
        const due = [...waiting].filter((each) => each.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
        if (due === undefined) break;
        waiting.delete(due);
        nowMs = Math.max(nowMs, due.dueMs);
        due.fire();
        await settle();
      }
      nowMs = endMs;
    },
    skew: (ms) => void (skewMs += ms),
    get pending() {
      return waiting.size;
    },
  };
}
