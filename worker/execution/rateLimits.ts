/**
 * Rate limits of tasks: how many of one name may start per second in this worker. A request over the limit waits here, in
 * order, before it waits for a slot, and counts as held. As Celery's token bucket with a capacity of one
 * (kombu/utils/limits.py).
 */
import type { Clock, Timer } from '../../operator/runtime/clock.ts';
import type { Request } from './request.ts';

/** Requests that wait for their rate limit. */
export interface RateLimits {
  /** Keeps a request until it may start; false when it may now. */
  hold(request: Request): boolean;
  /** Takes a request out; false when it does not wait here. */
  remove(request: Request): boolean;
  /** Changes the limit of a task; `undefined` lifts it. */
  set(task: string, perSecond: number | undefined): void;
  /** The limit of a task, if it has one. */
  perSecond(task: string): number | undefined;
  readonly waiting: number;
}

/** One task's limit and who waits for it. */
interface Bucket {
  intervalMs: number;
  perSecond: number;
  /** When the next one may start (monotonic). */
  nextMs: number;
  readonly queue: Request[];
  timer: Timer | undefined;
}

/**
 * Builds the limits.
 * @param release called for a request whose time has come
 */
export function createRateLimits(clock: Clock, release: (request: Request) => void): RateLimits {
  const buckets = new Map<string, Bucket>();
  let waiting = 0;

  const arm = (bucket: Bucket): void => {
    bucket.timer?.cancel();
    bucket.timer = undefined;
    if (bucket.queue.length === 0) return;
    const waitMs = Math.min(2_000_000_000, Math.max(0, bucket.nextMs - clock.monotonicMs()));
    bucket.timer = clock.setTimer(waitMs, () => fire(bucket));
  };
  const fire = (bucket: Bucket): void => {
    const nowMs = clock.monotonicMs();
    while (bucket.queue.length > 0 && bucket.nextMs <= nowMs) {
      // From when it was due and not from now, so that late timers do not lower the rate.
      bucket.nextMs = Math.max(bucket.nextMs, nowMs - 1_000) + bucket.intervalMs;
      releaseFirst(bucket);
    }
    arm(bucket);
  };
  const releaseFirst = (bucket: Bucket): void => {
    const request = bucket.queue.shift();
    if (request === undefined) return;
    waiting -= 1;
    release(request);
  };

  return {
    hold(request) {
      const bucket = buckets.get(request.message.task);
      if (bucket === undefined) return false;
      const nowMs = clock.monotonicMs();
      if (bucket.queue.length === 0 && bucket.nextMs <= nowMs) {
        bucket.nextMs = nowMs + bucket.intervalMs;
        return false;
      }
      waiting += 1;
      bucket.queue.push(request);
      if (bucket.queue.length === 1) arm(bucket);
      return true;
    },
    remove(request) {
      const bucket = buckets.get(request.message.task);
      const place = bucket?.queue.lastIndexOf(request) ?? -1;
      if (bucket === undefined || place < 0) return false;
      bucket.queue.splice(place, 1);
      waiting -= 1;
      if (place === 0) arm(bucket);
      return true;
    },
    set(task, perSecond) {
      const bucket = buckets.get(task);
      if (perSecond === undefined) {
        buckets.delete(task);
        bucket?.timer?.cancel();
        while (bucket !== undefined && bucket.queue.length > 0) releaseFirst(bucket);
        return;
      }
      const intervalMs = 1000 / perSecond;
      if (bucket === undefined) {
        buckets.set(task, { intervalMs, perSecond, nextMs: -Infinity, queue: [], timer: undefined });
        return;
      }
      bucket.nextMs += intervalMs - bucket.intervalMs;
      Object.assign(bucket, { intervalMs, perSecond });
      arm(bucket);
    },
    perSecond: (task) => buckets.get(task)?.perSecond,
    get waiting() {
      return waiting;
    },
  };
}
