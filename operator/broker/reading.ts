/**
 * What a sampler says of queues and of its broker: plain data, free of any client library. Unknown is a kind of its own
 * and never 0; a scaler that took "I could not read it" for "it is empty" would end the pods of a busy pool.
 */
import type { BrokerFailureReason } from './failures.ts';

/** One queue at one moment, in tasks. */
export type QueueReading =
  | {
      readonly kind: 'ok';
      /** Waiting in the lists of the queue, all priorities. */
      readonly ready: number;
      /** Taken by a worker and not acknowledged. */
      readonly held: number;
    }
  | { readonly kind: 'readyOnly'; readonly ready: number; /** Why `held` is not known. */ readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** A reading and when it was taken. */
export interface TimedReading {
  /** When it was read, on the clock's monotonic time. Nothing changed since, as far as the broker announces changes. */
  readonly at: number;
  readonly value: QueueReading;
  /**
   * False when Redis has said since that the queue (or what workers hold) changed, or when it was read before the moment
   * that the caller named: then what workers say may be newer than this, and a task that moved between the two would be
   * seen in both.
   */
  readonly isCurrent: boolean;
}

/** How the broker is. */
export type BrokerState =
  | { readonly kind: 'connecting' }
  | {
      readonly kind: 'ok';
      /** `push`: Redis announces changes. `poll`: every queue is read on every tick. */
      readonly tracking: 'push' | 'poll';
      /** Why it is polled. */
      readonly trackingWhy?: string;
    }
  | { readonly kind: 'failed'; readonly reason: BrokerFailureReason; readonly message: string };

/** Whether two readings say the same. */
export function sameReading(a: QueueReading, b: QueueReading): boolean {
  if (a.kind === 'ok') return b.kind === 'ok' && a.ready === b.ready && a.held === b.held;
  if (a.kind === 'readyOnly') return b.kind === 'readyOnly' && a.ready === b.ready && a.why === b.why;
  return b.kind === 'unknown' && a.why === b.why;
}

/** Whether two states say the same. */
export function sameState(a: BrokerState, b: BrokerState): boolean {
  if (a.kind === 'connecting') return b.kind === 'connecting';
  if (a.kind === 'failed') return b.kind === 'failed' && a.reason === b.reason && a.message === b.message;
  return b.kind === 'ok' && a.tracking === b.tracking && a.trackingWhy === b.trackingWhy;
}
