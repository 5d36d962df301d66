/**
 * What is known of every queue of one broker, and what has to be read next. Memory only: it opens nothing and reads no
 * clock, so that its rules can be tested with any order of announcements, reads and failures.
 */
import type { BrokerEndpoint } from './endpoint.ts';
import type { HeldReading } from './held.ts';
import { queueKeys, unackedKey } from './keys.ts';
import { markChanged, markSent, markStale, markTick, newPace, type Pace } from './pace.ts';
import type { QueueLists, ReadyReading } from './read.ts';
import { sameReading, type QueueReading, type TimedReading } from './reading.ts';

/** What a read is about to ask. */
export interface Chosen {
  readonly queues: readonly QueueLists[];
  /** Whether to count the held messages anew. */
  readonly held: boolean;
}

/** What a read brought. */
export interface Brought {
  /** In the order of the queues chosen. */
  readonly ready: readonly ReadyReading[];
  /** Absent while the count of held messages is not complete. */
  readonly held?: HeldReading;
}

/** The memory of one sampler. */
export interface Board {
  /** Adds a queue; it is read at once. */
  add(queue: string): void;
  /** Forgets a queue. */
  remove(queue: string): void;
  /**
   * The newest reading of a queue. One that was begun before `sinceMs` is not current: it is read on the next tick, and
   * whoever was given a reading that is not current is told when it is, changed or not.
   */
  reading(queue: string, sinceMs?: number): TimedReading;
  /** Keys that Redis announced as changed. Gives those that are neither a queue's nor the hash of held messages. */
  announced(keys: readonly string[], nowMs: number): string[];
  /** Everything may have changed (FLUSHALL). */
  announcedAll(nowMs: number): void;
  /** The next tick reads the hash of held messages. */
  heldStale(): void;
  /** A tick: what changed is due; with `all`, everything is. */
  tick(all: boolean): void;
  /** When the next read is due; Infinity when nothing is. `countRestMs`: before it no count of held messages begins. */
  nextDueMs(countRestMs: number): number;
  /** Chooses what to read now and marks it as sent. `mayCount`: whether a count of held messages may begin. */
  choose(nowMs: number, full: boolean, mayCount: boolean): Chosen;
  /** Takes in what a read brought; gives the queues whose reading changed or became current. */
  absorb(chosen: Chosen, brought: Brought, atMs: number): string[];
  /** Nothing is known any more. */
  fail(why: string, atMs: number): void;
}

interface Entry extends QueueLists {
  readonly pace: Pace;
  ready: ReadyReading | undefined;
  wasEmpty: boolean;
  shown: Omit<TimedReading, 'isCurrent'>;
  /** When its lists were asked last, of the answers that came. */
  readSinceMs: number;
  /** Whether somebody was given a reading that was not current. */
  isAwaited: boolean;
}

const notReadYet = 'not read yet';

/**
 * Builds an empty board.
 * @param restMs a thing unchanged for this long is read at once when it changes
 */
export function createBoard(endpoint: BrokerEndpoint, restMs: number): Board {
  const entries = new Map<string, Entry>();
  const entryOfKey = new Map<string, Entry>();
  /** Entries whose pace is dirty: an idle fleet of thousands is not walked on every announcement. */
  const dirty = new Set<Entry>();
  const heldKey = unackedKey(endpoint);
  const heldPace = newPace();
  let held: HeldReading = { kind: 'unknown', why: notReadYet };
  /** What was asked and not answered yet: its reading is from before the change that it was asked for. */
  const asked = new Set<Entry>();
  let isHeldAsked = false;
  /** When the count of held messages began: of the one under way, and of the one that is known. */
  let heldBegunMs = -Infinity;
  let heldSinceMs = -Infinity;
  /** Why nothing is known, while the broker cannot be read. */
  let failed: string | undefined;

  const changed = (entry: Entry, nowMs: number): void => {
    markChanged(entry.pace, nowMs, restMs);
    dirty.add(entry);
  };
  const stale = (entry: Entry): void => {
    markStale(entry.pace);
    dirty.add(entry);
  };

  const isCurrent = (entry: Entry): boolean =>
    !entry.pace.dirty && !asked.has(entry) && !heldPace.dirty && !isHeldAsked;

  return {
    add(name) {
      if (entries.has(name)) return;
      const value: QueueReading = { kind: 'unknown', why: failed ?? notReadYet };
      const keys = queueKeys(endpoint, name);
      const entry: Entry = {
        ...{ name, keys, pace: newPace(), ready: undefined, shown: { at: -Infinity, value } },
        ...{ wasEmpty: false, readSinceMs: -Infinity, isAwaited: false },
      };
      entries.set(name, entry);
      dirty.add(entry);
      for (const key of keys) entryOfKey.set(key, entry);
    },
    remove(name) {
      const entry = entries.get(name);
      if (entry === undefined) return;
      entries.delete(name);
      dirty.delete(entry);
      asked.delete(entry);
      for (const key of entry.keys) entryOfKey.delete(key);
    },
    reading(name, sinceMs = -Infinity) {
      const entry = entries.get(name);
      const unread = { at: -Infinity, value: { kind: 'unknown', why: `queue ${name} is not read` } } as const;
      if (entry === undefined) return { ...unread, isCurrent: false };
      // Announcements and heartbeats come over two connections: that nothing was announced yet proves nothing.
      if (entry.readSinceMs < sinceMs && !asked.has(entry)) stale(entry);
      if (heldSinceMs < sinceMs && !isHeldAsked) markStale(heldPace);
      if (!isCurrent(entry)) {
        entry.isAwaited = true;
        return { ...entry.shown, isCurrent: false };
      }
      return { ...entry.shown, isCurrent: true };
    },
    announced(keys, nowMs) {
      const others: string[] = [];
      for (const key of keys) {
        const entry = entryOfKey.get(key);
        if (entry !== undefined) changed(entry, nowMs);
        else if (key === heldKey) markChanged(heldPace, nowMs, restMs);
        else others.push(key);
      }
      return others;
    },
    announcedAll(nowMs) {
      for (const entry of entries.values()) changed(entry, nowMs);
      markChanged(heldPace, nowMs, restMs);
    },
    heldStale: () => markStale(heldPace),
    tick(all) {
      if (all) {
        for (const entry of entries.values()) stale(entry);
        markStale(heldPace);
      }
      for (const entry of dirty) markTick(entry.pace);
      markTick(heldPace);
    },
    nextDueMs(countRestMs) {
      let dueMs = heldPace.dirty ? Math.max(heldPace.dueMs, countRestMs) : Infinity;
      for (const entry of dirty) dueMs = Math.min(dueMs, entry.pace.dueMs);
      return dueMs;
    },
    choose(nowMs, full, mayCount) {
      const due = [...dirty].filter((entry) => entry.pace.dueMs <= nowMs);
      // Whenever something is read, held messages that changed are read with it, and with them every list that changed:
      // a task that left its list must be in one of the two numbers, neither in none nor in both.
      const withHeld = mayCount && (full || (heldPace.dirty && (due.length > 0 || heldPace.dueMs <= nowMs)));
      const queues = full ? [...entries.values()] : withHeld ? [...dirty] : due;
      for (const entry of queues) {
        markSent(entry.pace, nowMs);
        dirty.delete(entry);
        asked.add(entry);
      }
      if (withHeld) {
        markSent(heldPace, nowMs);
        isHeldAsked = true;
        heldBegunMs = nowMs;
      }
      return { queues, held: withHeld };
    },
    absorb(chosen, brought, atMs) {
      failed = undefined;
      asked.clear(); // One read is under way at a time.
      const fresh = new Set<Entry>();
      chosen.queues.forEach(({ name }, index) => {
        const entry = entries.get(name);
        const ready = brought.ready[index];
        if (entry === undefined || ready === undefined) return; // removed while it was read
        entry.ready = ready;
        entry.wasEmpty = ready.kind === 'ok' && ready.ready === 0;
        entry.readSinceMs = atMs;
        fresh.add(entry);
        // A key that may not be read is not tracked either: nothing will announce that it may be read now.
        if (ready.kind === 'unknown' && ready.retry) stale(entry);
      });
      if (brought.held !== undefined) {
        held = brought.held;
        isHeldAsked = false;
        heldSinceMs = heldBegunMs;
      }
      const different: string[] = [];
      for (const entry of brought.held === undefined ? fresh : entries.values()) {
        const value = readingOf(entry, held);
        if (!sameReading(entry.shown.value, value)) {
          different.push(entry.name);
          entry.shown = { at: atMs, value };
        } else {
          if (fresh.has(entry)) entry.shown = { at: atMs, value: entry.shown.value };
          if (entry.isAwaited && isCurrent(entry)) different.push(entry.name);
        }
        if (isCurrent(entry)) entry.isAwaited = false;
      }
      return different;
    },
    fail(why, atMs) {
      failed = why;
      const value: QueueReading = { kind: 'unknown', why };
      held = value;
      asked.clear();
      isHeldAsked = false;
      for (const entry of entries.values()) {
        entry.ready = undefined;
        entry.wasEmpty = false;
        entry.shown = { at: atMs, value };
      }
    },
  };
}

function readingOf({ name, ready }: Entry, held: HeldReading): QueueReading {
  if (ready === undefined) return { kind: 'unknown', why: notReadYet };
  if (ready.kind === 'unknown') return { kind: 'unknown', why: ready.why };
  if (held.kind === 'unknown') return { kind: 'readyOnly', ready: ready.ready, why: held.why };
  return { kind: 'ok', ready: ready.ready, held: held.byQueue.get(name) ?? 0 };
}
