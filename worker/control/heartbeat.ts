/**
 * Says what the worker does: every two seconds as Celery's workers do, and at once when it begins or ends to run or to
 * hold something, so that who scales it does not look at a picture two seconds old. The field `muster` counts by queue,
 * as worker/celery/muster_worker.py does; operator/fleet/heartbeat.ts reads it. Source: celery/worker/heartbeat.py.
 *
 *   something changed ──settleMs──► is it news? ──► heartbeat      (at least gapMs between two of these)
 */
import { loadavg, type as systemType } from 'node:os';
import type { Clock, Timer } from '../../operator/runtime/clock.ts';
import type { Executor, Observer } from '../execution/executor.ts';
import type { AckMode } from '../execution/prefetch.ts';
import { workerEvent, type EventBody } from '../protocol/event.ts';

/** The heart of a worker. */
export interface Heart {
  readonly observer: Observer;
  /** Tasks that have started, by name. */
  readonly total: ReadonlyMap<string, number>;
  /** A new connection: tells that the worker is there. */
  online(): void;
  /** A heartbeat now. */
  beat(): Promise<void>;
  /** The last words. */
  stop(): Promise<void>;
}

/** What the heart needs. */
export interface HeartDeps {
  readonly executor: () => Executor;
  /** The queues that it takes messages from now. */
  readonly queues: () => readonly string[];
  readonly clock: Clock;
  readonly send: (event: EventBody) => Promise<void>;
  readonly ackMode: AckMode;
  readonly version: string;
  /** `namespace/name` of the WorkerPool, if it runs in one. */
  readonly pool: string | undefined;
}

/** Seconds between two heartbeats. */
export const beatSeconds = 2;
const settleMs = 50;
const gapMs = 200;

/** Builds the heart. */
export function createHeart(deps: HeartDeps): Heart {
  const { clock } = deps;
  const total = new Map<string, number>();
  let processed = 0;
  let isStopped = false;
  let isArmed = false;
  let told = '';
  let toldAtMs = -Infinity;
  let periodic: Timer | undefined;

  /** What is told at once when it changes. */
  const news = (): string => {
    const { slots, rateLimits } = deps.executor();
    return `${slots.running > 0} ${slots.waiting + rateLimits.waiting > 0} ${deps.executor().isGivingBack}`;
  };
  const say = (kind: 'online' | 'heartbeat' | 'offline'): Promise<void> => {
    const executor = deps.executor();
    const { type, fields } = workerEvent(kind, {
      ...{ freq: beatSeconds, active: executor.slots.running, processed },
      loadavg: loadavg().map((load) => Math.round(load * 100) / 100),
      ...{ sw_ident: 'muster-worker', sw_ver: deps.version, sw_sys: systemType() },
    });
    told = news();
    toldAtMs = clock.monotonicMs();
    return deps.send({ type, fields: kind === 'offline' ? fields : { ...fields, muster: report(executor, deps) } });
  };
  const repeat = (): void => {
    periodic = clock.setTimer(beatSeconds * 1000, () => {
      void say('heartbeat');
      repeat();
    });
  };
  const changed = (): void => {
    if (isArmed || isStopped) return;
    isArmed = true;
    clock.setTimer(Math.max(settleMs, toldAtMs + gapMs - clock.monotonicMs()), () => {
      isArmed = false;
      if (!isStopped && news() !== told) void say('heartbeat');
    });
  };
  repeat();

  return {
    observer: {
      received: changed,
      started({ message }) {
        processed += 1;
        total.set(message.task, (total.get(message.task) ?? 0) + 1);
        changed();
      },
      ended: changed,
      dropped: () => undefined,
    },
    total,
    online() {
      void say('online');
      // The operator reads heartbeats only.
      void say('heartbeat');
    },
    beat: () => say('heartbeat'),
    async stop() {
      isStopped = true;
      periodic?.cancel();
      await say('offline');
    },
  };
}

const prefetchName = { fair: 'Fair', unlimited: 'Unlimited' } as const;

/** The `muster` field. */
function report(executor: Executor, deps: HeartDeps): Readonly<Record<string, unknown>> {
  const running: Record<string, number> = {};
  const held: Record<string, number> = {};
  let scheduled = 0;
  for (const { phase, delivery } of executor.requests()) {
    if (phase === 'scheduled') scheduled += 1;
    else if (phase === 'running') running[delivery.queue] = (running[delivery.queue] ?? 0) + 1;
    else if (phase === 'waiting') held[delivery.queue] = (held[delivery.queue] ?? 0) + 1;
  }
  const { prefetch } = executor;
  return {
    v: 1,
    ...(deps.pool === undefined ? {} : { pool: deps.pool }),
    ackMode: deps.ackMode === 'late' ? 'Late' : 'Early',
    prefetch: typeof prefetch === 'number' ? 'Multiplier' : prefetchName[prefetch],
    slots: executor.slots.size,
    queues: [...deps.queues()].sort(),
    ...{ scheduled, running, held, problems: [] },
  };
}
