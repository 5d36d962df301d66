/**
 * Which keys need work. The promises: a key is never worked on twice at once; a key added while it is worked on comes
 * again afterwards; a key added many times before its turn is worked on once; nothing that was added is lost.
 *
 *   add ──► ready ──get──► processing ──done──► (gone, or ready again when it was added meanwhile)
 *            ▲
 *   addAfter ┘ when due (the earliest of several times counts)
 *
 * `dirty` holds the keys that need work: in the ready heap, or being processed and wanted again.
 */
import type { Clock, Timer } from './clock.ts';
import { createHeap } from './heap.ts';
import type { QueueMetrics } from './metrics.ts';
import { createRateLimiter, type RateLimits } from './ratelimit.ts';

/** How an add is to be treated. */
export interface AddOptions {
  /** Higher first; 0 when absent. The first list after a start goes in at `initialPriority`. */
  readonly priority?: number;
}

/** Priority of what is there at the start: after a restart with thousands of objects, a user's edit goes first. */
export const initialPriority = -100;

/** A queue of keys. */
export interface WorkQueue {
  readonly name: string;
  add(key: string, options?: AddOptions): void;
  /** Adds after `ms` milliseconds. A key already waiting for an earlier time stays there. */
  addAfter(key: string, ms: number, options?: AddOptions): void;
  /** Adds after the key's own exponential wait, and counts a failure. */
  addRateLimited(key: string): void;
  /** Forgets the key's failures. */
  forget(key: string): void;
  /** Failures in a row of a key. */
  failures(key: string): number;
  /** The next key, waiting for one if need be; undefined when the signal aborts. Every key got must be `done`. */
  get(signal: AbortSignal): Promise<string | undefined>;
  done(key: string): void;
  /** Keys that are ready. */
  readonly length: number;
}

/** What a queue is built from. */
export interface WorkQueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly metrics: QueueMetrics;
  readonly rateLimits?: RateLimits;
}

interface Ready {
  readonly key: string;
  readonly priority: number;
  readonly sequence: number;
  readonly sinceMs: number;
}

interface Delayed {
  readonly key: string;
  readonly dueMs: number;
  readonly priority: number;
}

/** Timers beyond this overflow in Node and would fire at once. */
const longestTimerMs = 86_400_000;

/** Builds an empty queue. */
export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { clock, metrics } = options;
  const limiter = createRateLimiter(options.rateLimits);
  const ready = createHeap<Ready>((a, b) =>
    a.priority === b.priority ? a.sequence < b.sequence : a.priority > b.priority,
  );
  const delays = createHeap<Delayed>((a, b) => a.dueMs < b.dueMs);
  /** The entry of each ready key that counts; others in the heap are left from before its priority was raised. */
  const readyByKey = new Map<string, Ready>();
  const delayedByKey = new Map<string, Delayed>();
  /** Keys wanted again while being processed, with the priority wanted. */
  const again = new Map<string, number>();
  const processing = new Map<string, number>();
  const takers: ((key: string) => void)[] = [];
  let sequence = 0;
  let timer: { readonly dueMs: number; readonly handle: Timer } | undefined;

  const secondsSince = (ms: number): number => (clock.monotonicMs() - ms) / 1000;
  metrics.watchUnfinished(() => {
    const ages = [...processing.values()].map(secondsSince);
    return { sumSeconds: ages.reduce((sum, age) => sum + age, 0), longestSeconds: Math.max(0, ...ages) };
  });

  const push = (key: string, priority: number, sinceMs: number): void => {
    const entry = { key, priority, sequence: (sequence += 1), sinceMs };
    readyByKey.set(key, entry);
    ready.push(entry);
    metrics.depth(readyByKey.size);
    if (takers.length > 0) {
      const taken = take();
      if (taken !== undefined) takers.shift()?.(taken);
    }
  };

  /** Moves the most urgent key from ready to processing. */
  const take = (): string | undefined => {
    for (let entry = ready.pop(); entry !== undefined; entry = ready.pop()) {
      if (readyByKey.get(entry.key) !== entry) continue;
      readyByKey.delete(entry.key);
      processing.set(entry.key, clock.monotonicMs());
      metrics.waited(secondsSince(entry.sinceMs));
      metrics.depth(readyByKey.size);
      return entry.key;
    }
    return undefined;
  };

  const add = (key: string, { priority = 0 }: AddOptions = {}): void => {
    const waiting = readyByKey.get(key);
    if (waiting !== undefined) {
      if (priority > waiting.priority) push(key, priority, waiting.sinceMs);
      return;
    }
    const wanted = again.get(key);
    if (wanted === undefined) metrics.added();
    if (processing.has(key)) again.set(key, Math.max(priority, wanted ?? priority));
    else push(key, priority, clock.monotonicMs());
  };

  /** Arms one timer for the earliest delay. */
  const arm = (): void => {
    for (let next = delays.peek(); next !== undefined && delayedByKey.get(next.key) !== next; next = delays.peek()) {
      delays.pop();
    }
    const next = delays.peek();
    if (timer !== undefined && timer.dueMs === next?.dueMs) return;
    timer?.handle.cancel();
    timer = undefined;
    if (next === undefined) return;
    const waitMs = Math.min(longestTimerMs, Math.max(0, next.dueMs - clock.monotonicMs()));
    timer = { dueMs: next.dueMs, handle: clock.setTimer(Math.ceil(waitMs), release) };
  };

  const release = (): void => {
    timer = undefined;
    const nowMs = clock.monotonicMs();
    for (let next = delays.peek(); next !== undefined && next.dueMs <= nowMs; next = delays.peek()) {
      delays.pop();
      if (delayedByKey.get(next.key) !== next) continue;
      delayedByKey.delete(next.key);
      add(next.key, { priority: next.priority });
    }
    arm();
  };

  const addAfter = (key: string, ms: number, { priority = 0 }: AddOptions = {}): void => {
    if (ms <= 0) {
      add(key, { priority });
      return;
    }
    const dueMs = clock.monotonicMs() + ms;
    const waiting = delayedByKey.get(key);
    if (waiting !== undefined && waiting.dueMs <= dueMs && waiting.priority >= priority) return;
    const entry = {
      key,
      dueMs: Math.min(dueMs, waiting?.dueMs ?? dueMs),
      priority: Math.max(priority, waiting?.priority ?? priority),
    };
    delayedByKey.set(key, entry);
    delays.push(entry);
    arm();
  };

  return {
    name: options.name,
    add,
    addAfter,
    addRateLimited: (key) => {
      metrics.retried();
      addAfter(key, limiter.nextMs(key));
    },
    forget: (key) => limiter.forget(key),
    failures: (key) => limiter.failures(key),
    get: (signal) => {
      if (signal.aborted) return Promise.resolve(undefined);
      const key = take();
      if (key !== undefined) return Promise.resolve(key);
      return new Promise((resolve) => {
        const taker = (taken: string): void => {
          signal.removeEventListener('abort', abort);
          resolve(taken);
        };
        const abort = (): void => {
          takers.splice(takers.indexOf(taker), 1);
          resolve(undefined);
        };
        takers.push(taker);
        signal.addEventListener('abort', abort, { once: true });
      });
    },
    done: (key) => {
      const startMs = processing.get(key);
      if (startMs === undefined) return;
      processing.delete(key);
      metrics.worked(secondsSince(startMs));
      const priority = again.get(key);
      if (priority === undefined) return;
      again.delete(key);
      push(key, priority, clock.monotonicMs());
    },
    get length() {
      return readyByKey.size;
    },
  };
}
