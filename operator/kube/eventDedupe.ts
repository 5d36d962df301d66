/**
 * Which events are worth sending. Pure but for its memory, which is bounded: the same event within two minutes is
 * sent once, unless it tells of a change, and one object cannot flood the API server, nor push the events of others out.
 */
import type { Clock } from '../runtime/clock.ts';

/** Limits on events. */
export interface EventLimits {
  /** The same event of the same object within this time is left out; one that tells of a change never is. */
  readonly dedupeMs: number;
  /** Events that an object may have at once. */
  readonly burst: number;
  /** Time after which it may have one more. */
  readonly refillMs: number;
  /** Objects remembered; the longest unheard of is forgotten first. */
  readonly maxObjects: number;
}

export const defaultEventLimits: EventLimits = {
  dedupeMs: 120_000,
  burst: 25,
  refillMs: 30_000,
  maxObjects: 4096,
};

/**
 * Reasons of events that tell of a change, not of a state. A pool that goes from 0 to 1 once a minute says the same words
 * each time, and each is news: left out as a duplicate, every second change of size had no event.
 */
const changeReasons: ReadonlySet<string> = new Set(['Scaled']);

/** Decides on each event; `duplicate` and `limited` are not to be sent. */
export interface EventFilter {
  /** @param eventKey `type/reason/note` */
  judge(objectKey: string, eventKey: string): 'send' | 'duplicate' | 'limited';
}

interface Memory {
  tokens: number;
  atMs: number;
  /** When each event was last sent. */
  readonly sentMs: Map<string, number>;
}

/** Builds a filter with an empty memory. */
export function createEventFilter(clock: Clock, limits: EventLimits = defaultEventLimits): EventFilter {
  const memories = new Map<string, Memory>();

  const recall = (objectKey: string, nowMs: number): Memory => {
    const memory = memories.get(objectKey) ?? { tokens: limits.burst, atMs: nowMs, sentMs: new Map<string, number>() };
    memories.delete(objectKey);
    memories.set(objectKey, memory); // A Map keeps the order of insertion: the first key is the longest unheard of.
    const oldest = memories.keys().next().value;
    if (memories.size > limits.maxObjects && oldest !== undefined) memories.delete(oldest);
    return memory;
  };

  return {
    judge: (objectKey, eventKey) => {
      const nowMs = clock.monotonicMs();
      const memory = recall(objectKey, nowMs);
      for (const [key, sentMs] of memory.sentMs) if (nowMs - sentMs >= limits.dedupeMs) memory.sentMs.delete(key);
      const isChange = changeReasons.has(eventKey.split('/', 2)[1] ?? '');
      if (!isChange && memory.sentMs.has(eventKey)) return 'duplicate';
      memory.tokens = Math.min(limits.burst, memory.tokens + (nowMs - memory.atMs) / limits.refillMs);
      memory.atMs = nowMs;
      if (memory.tokens < 1) return 'limited';
      memory.tokens -= 1;
      if (!isChange) memory.sentMs.set(eventKey, nowMs);
      return 'send';
    },
  };
}
