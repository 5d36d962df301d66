/**
 * How many messages a worker may hold. Pure. The numbers are those of Celery (celery/worker/consumer, kombu QoS), where a
 * task that is acknowledged early does not count as soon as it runs:
 *
 *   policy         early                            late
 *   fair           slots, all running               slots, all running
 *   multiplier n   slots running + slots × n        slots × n in all
 *   unlimited      everything                       everything
 */

/** `fair` holds nothing that does not run; a number is the multiplier. */
export type Prefetch = 'fair' | 'unlimited' | number;

/** When a message is acknowledged: before or after it ran. */
export type AckMode = 'early' | 'late';

/** What is in the worker, tasks that wait for their time left out. */
export interface Load {
  readonly slots: number;
  readonly running: number;
  readonly waiting: number;
  /** Of these, not acknowledged. */
  readonly unacked: number;
}

/** How many more messages may be taken. */
export function creditOf(prefetch: Prefetch, { slots, running, waiting, unacked }: Load): number {
  if (prefetch === 'unlimited') return Infinity;
  if (prefetch === 'fair') return Math.max(0, slots - running - waiting);
  return Math.max(0, slots * prefetch - unacked);
}
