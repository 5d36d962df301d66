/**
 * When a thing that changed is read again. Pure.
 *
 * Redis says once that a key changed and then is silent until the key is read again. Read at once and a busy queue costs
 * thousands of reads a second; read on the tick and a pool at zero waits two seconds for its first pod. So:
 *
 *   at rest ─change─► read now ─change─► +75 ms ─change─► +300 ms ─change─► +1.2 s ─change─► tick, tick, tick …
 *
 * The steps after the first read see the burst of which the first message was the beginning. A thing that stays
 * unchanged for `restMs` after a read is at rest again.
 */

/** How long (ms) after the last read a change is read, by how often it has changed lately. */
const stepsMs: readonly number[] = [75, 300, 1200];

/** The reading plan of one queue, or of the hash of unacknowledged messages. */
export interface Pace {
  /** Whether it changed since it was read, or was never read. */
  dirty: boolean;
  /** When to read it (monotonic ms) while dirty; Infinity leaves it to the tick. */
  dueMs: number;
  /** Since when (the read that saw its last change) nothing changed. */
  quietSinceMs: number;
  /** How many times in a row it changed soon after a read. */
  level: number;
}

/** Never read: due at once. */
export function newPace(): Pace {
  return { dirty: true, dueMs: -Infinity, quietSinceMs: -Infinity, level: 0 };
}

/** It changed. */
export function markChanged(pace: Pace, nowMs: number, restMs: number): void {
  if (pace.dirty) return;
  pace.dirty = true;
  if (nowMs - pace.quietSinceMs >= restMs) {
    pace.level = 0;
    pace.dueMs = nowMs;
  } else {
    pace.dueMs = pace.quietSinceMs + (stepsMs[pace.level] ?? Infinity);
    pace.level = Math.min(pace.level + 1, stepsMs.length);
  }
}

/** It is read on the next tick, changed or not. */
export function markStale(pace: Pace): void {
  if (pace.dirty) return;
  pace.dirty = true;
  pace.dueMs = Infinity;
}

/** The tick has come: whatever is dirty is due. */
export function markTick(pace: Pace): void {
  if (pace.dirty) pace.dueMs = -Infinity;
}

/**
 * The read is about to be sent. It is clean from here on and not from the answer on: a change while the answer is under
 * way may be announced before the answer arrives, and clearing the mark then would lose it.
 */
export function markSent(pace: Pace, nowMs: number): void {
  // A read that nothing asked for (the full read) does not make a quiet thing look busy.
  if (pace.dirty) pace.quietSinceMs = nowMs;
  pace.dirty = false;
  pace.dueMs = Infinity;
}
