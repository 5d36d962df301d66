/**
 * What the readings about one pool mean: how many tasks are outstanding, and whether the pool is proven empty.
 * Pure. Two answers are kept apart on purpose: growing needs only a lower bound (a partial view is enough to see
 * work), shrinking needs proof (every queue read, every worker heard).
 *
 * Where a task is, by acknowledgement mode (Redis, Celery 5.3 to 5.7):
 *   Early:  queue --take--> `unacked` (held) --start, ack--> worker memory only (running)
 *   Late:   queue --take--> `unacked` (held) --start------> still in `unacked` (running) --end, ack--> gone
 */
import { known, unknown, type Known } from './known.ts';

/** What was read of one queue, in tasks. */
export interface QueueSample {
  readonly name: string;
  /** Waiting in the queue. */
  readonly ready: Known<number>;
  /** Delivered to a worker and not acknowledged. */
  readonly unacked: Known<number>;
}

/** What the pool's workers say of themselves, summed over the pods that were heard. */
export interface Activity {
  /** Tasks being executed. */
  readonly running: number;
  /** Tasks received and not started, those with an ETA included. */
  readonly waitingInWorkers: number;
}

/**
 * What is known of the workers: with one silent pod it is unknown, and what the others said is a lower bound. It counts
 * for growth only. Without it one dead node hides all tasks that run elsewhere, which with early acknowledgement are in
 * no key of the broker, and a pool whose every slot is taken does not grow for the tasks that wait.
 */
export type ActivityReading =
  | { readonly kind: 'ok'; readonly value: Activity }
  | {
      readonly kind: 'unknown';
      readonly why: string;
      /** The sum over the pods that were heard; absent when none was. */
      readonly atLeast?: Activity;
    };

/** Everything read about one pool at one moment. */
export interface PoolSample {
  readonly ackMode: 'Early' | 'Late';
  readonly queues: readonly QueueSample[];
  /** False when the queues, or what the heard workers do, have changed since they were read: what workers say is newer. */
  readonly isCurrent: boolean;
  readonly activity: ActivityReading;
}

/** What `signals` remembers between two calls. */
export interface SignalMemory {
  /** When the pool was first seen empty without a break, on the caller's monotonic clock; absent while it is not. */
  readonly emptySinceMs?: number;
}

/** The meaning of a sample. */
export interface Signals {
  /** Waiting in the queues. */
  readonly ready: Known<number>;
  /** Being executed. */
  readonly running: Known<number>;
  /** Taken by a worker (or left behind by a dead one) and not being executed. */
  readonly held: Known<number>;
  /** Ready + held + running as far as they are known: the truth is at least this. */
  readonly outstandingAtLeast: number;
  /** For how long (ms) the pool has been proven empty; 0 when it holds work; unknown when it cannot be proven. */
  readonly emptyForMs: Known<number>;
  readonly memory: SignalMemory;
}

/**
 * Reads the meaning out of a sample.
 * @param nowMs the caller's monotonic clock
 */
export function signals(sample: PoolSample, memory: SignalMemory, nowMs: number): Signals {
  const ready = sumQueues(sample.queues, (queue) => queue.ready);
  const unacked = sumQueues(sample.queues, (queue) => queue.unacked);
  const activity = wholeOf(sample.activity);
  const running = mapKnown(activity, (whole) => whole.running);
  const held = heldOf(sample.ackMode, unacked.total, running);
  const outstandingAtLeast = countOutstanding(sample, ready.atLeast + unacked.atLeast);
  const empty = outstandingAtLeast > 0 ? known(false) : provenEmpty(activity, ready.total, unacked.total);
  const emptySinceMs = empty.kind === 'ok' && empty.value ? (memory.emptySinceMs ?? nowMs) : undefined;
  return {
    ready: ready.total,
    running,
    held,
    outstandingAtLeast,
    emptyForMs: mapKnown(empty, () => (emptySinceMs === undefined ? 0 : nowMs - emptySinceMs)),
    memory: emptySinceMs === undefined ? {} : { emptySinceMs },
  };
}

/**
 * The least number of tasks that there are. The broker and the workers are read at different moments, so a task may be
 * in both readings: it is added up only when the broker's is current, and then only what its keys cannot hold. A silent
 * worker changes nothing in this: nothing that it said is added, and what it has not acknowledged is in those keys.
 * @param inBroker waiting and unacknowledged, as far as known
 */
function countOutstanding({ ackMode, isCurrent, activity }: PoolSample, inBroker: number): number {
  const { running, waitingInWorkers } = heardOf(activity);
  const isOutside = ackMode === 'Early' && isCurrent;
  return Math.max(isOutside ? inBroker + running : inBroker, running + waitingInWorkers);
}

/** What was heard of the workers, all of them or some. */
function heardOf(activity: ActivityReading): Activity {
  const heard = activity.kind === 'ok' ? activity.value : activity.atLeast;
  return heard ?? { running: 0, waitingInWorkers: 0 };
}

/** What all workers do, unknown when only some were heard: a part that looks like the whole is how busy pods shrink. */
function wholeOf(activity: ActivityReading): Known<Activity> {
  return activity.kind === 'ok' ? activity : unknown(activity.why);
}

/** The sum over all queues when each is known, and the sum over those that are. */
function sumQueues(
  queues: readonly QueueSample[],
  pick: (queue: QueueSample) => Known<number>,
): { total: Known<number>; atLeast: number } {
  let atLeast = 0;
  let missing: string | undefined;
  for (const queue of queues) {
    const count = pick(queue);
    if (count.kind === 'ok') atLeast += count.value;
    else missing ??= `queue ${queue.name}: ${count.why}`;
  }
  return { total: missing === undefined ? known(atLeast) : unknown(missing), atLeast };
}

/**
 * Tasks that a worker has taken and does not run. With late acknowledgement the running ones are in `unacked` too.
 * @param unacked of a queue, or of all queues of a pool
 * @param running of the same queue or queues
 */
export function heldOf(ackMode: PoolSample['ackMode'], unacked: Known<number>, running: Known<number>): Known<number> {
  if (unacked.kind === 'unknown' || ackMode === 'Early') return unacked;
  return mapKnown(running, (count) => Math.max(0, unacked.value - count));
}

/** With no task seen anywhere: proven empty only when every queue was read and every worker was heard. */
function provenEmpty(activity: Known<Activity>, ready: Known<number>, unacked: Known<number>): Known<boolean> {
  if (ready.kind === 'unknown') return ready;
  if (unacked.kind === 'unknown') return unacked;
  return activity.kind === 'unknown' ? activity : known(true);
}

function mapKnown<A, B>(value: Known<A>, map: (value: A) => B): Known<B> {
  return value.kind === 'ok' ? known(map(value.value)) : value;
}
