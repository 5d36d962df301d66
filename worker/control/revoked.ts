/**
 * Tasks that are not to run: by id, or by a stamp that they carry. Kept in memory as Celery does, with its bounds; a
 * worker that starts again has forgotten them. Source: celery/worker/state.py, celery/worker/request.py (`revoked`).
 */
import type { TaskMessage } from '../protocol/message.ts';

/** The most ids that are kept, and for how long. */
const most = 50_000;
const keepMs = 3 * 3_600_000;

/** What was revoked. */
export interface Revoked {
  add(ids: Iterable<string>, nowMs: number): void;
  /** Tasks with any of these values of a stamp. */
  addStamps(stamps: Readonly<Record<string, readonly unknown[]>>): void;
  has(message: Pick<TaskMessage, 'id' | 'stamps'>): boolean;
  /** Oldest first; those that are too old are forgotten. */
  ids(nowMs: number): string[];
}

/** Nothing is revoked yet. */
export function createRevoked(): Revoked {
  /** In the order in which they were added. */
  const since = new Map<string, number>();
  const stamped = new Map<string, Set<unknown>>();
  const purge = (nowMs: number): void => {
    for (const [id, atMs] of since) {
      if (since.size <= most && nowMs - atMs <= keepMs) break;
      since.delete(id);
    }
  };
  return {
    add(ids, nowMs) {
      for (const id of ids) {
        since.delete(id);
        since.set(id, nowMs);
      }
      purge(nowMs);
    },
    addStamps(stamps) {
      for (const [name, values] of Object.entries(stamps)) {
        const known = stamped.get(name) ?? new Set();
        for (const value of values) known.add(value);
        stamped.set(name, known);
      }
    },
    has: ({ id, stamps }) =>
      since.has(id) ||
      (stamped.size > 0 &&
        stamps !== undefined &&
        [...stamped].some(([name, values]) => carries(stamps, name, values))),
    ids(nowMs) {
      purge(nowMs);
      return [...since.keys()];
    },
  };
}

/** Whether a task carries one of some values of a stamp. */
export function carries(
  stamps: Readonly<Record<string, unknown>>,
  name: string,
  values: ReadonlySet<unknown>,
): boolean {
  const own = stamps[name];
  return (Array.isArray(own) ? (own as unknown[]) : [own]).some((value) => value !== undefined && values.has(value));
}
