// What the tasks noted about themselves, and the numbers made of it. Pure.

/** What one task noted: seconds on the clock of Redis. */
export interface TaskNote {
  readonly kind: 'short' | 'long';
  readonly sent: number;
  readonly started: number;
  readonly ended: number;
}

/** How long tasks waited from being sent to being started. */
export interface WaitSeconds {
  readonly p50: number;
  readonly p99: number;
}

/** The numbers of one set-up. */
export interface Summary {
  readonly tasks: number;
  readonly shortWaitSeconds: WaitSeconds;
  readonly longWaitSeconds: WaitSeconds;
  /** From the first task sent to the last one ended. */
  readonly tasksPerSecond: number;
  /** From the last task sent to the last one ended: small when the slots kept up with the load. */
  readonly drainSeconds: number;
}

/**
 * The smallest value that at least `percent` percent of the values do not exceed (nearest rank): always a value that
 * was measured, never one in between. NaN when there is no value.
 */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
  return sorted[rank - 1] ?? NaN;
}

/** The waits of the tasks of one kind, in the order of the notes. */
export function waitsOf(notes: readonly TaskNote[], kind: TaskNote['kind']): number[] {
  return notes.filter((note) => note.kind === kind).map(({ sent, started }) => started - sent);
}

/** The numbers of one set-up from the notes of all of its tasks. */
export function summarise(notes: readonly TaskNote[]): Summary {
  const firstSent = Math.min(...notes.map(({ sent }) => sent));
  const lastSent = Math.max(...notes.map(({ sent }) => sent));
  const lastEnded = Math.max(...notes.map(({ ended }) => ended));
  return {
    tasks: notes.length,
    shortWaitSeconds: waitSeconds(waitsOf(notes, 'short')),
    longWaitSeconds: waitSeconds(waitsOf(notes, 'long')),
    tasksPerSecond: notes.length / (lastEnded - firstSent),
    drainSeconds: lastEnded - lastSent,
  };
}

function waitSeconds(waits: readonly number[]): WaitSeconds {
  return { p50: percentile(waits, 50), p99: percentile(waits, 99) };
}
