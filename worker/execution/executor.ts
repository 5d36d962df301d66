/**
 * What becomes of each message: read it, wait for its time and for a slot, run it, store the outcome, settle it.
 *
 *   delivery ─► malformed: into a list of its own      ─► scheduled ─┐
 *            ─► refused, unknown, revoked, expired: FAILURE / REVOKED │ its time comes
 *            ─► waiting ◄─────────────────────────────────────────────┘
 *                 │ a slot is free: acknowledged now (early)
 *               running ─► SUCCESS / FAILURE / RETRY / REVOKED stored ─► acknowledged (late)
 *
 * An early acknowledgement loses a task that runs when its worker dies; a late one runs it again.
 */
import { createRoster } from '../../operator/runtime/roster.ts';
import { createSlots } from '../pool/slots.ts';
import { parseMessage, type TaskMessage } from '../protocol/message.ts';
import { NotRegistered, TaskRevokedError } from '../task/errors.ts';
import { parseRate } from '../task/rate.ts';
import type { Delivery } from '../transport/exchange.ts';
import { createOutcomes, type Settlement } from './outcome.ts';
import { creditOf } from './prefetch.ts';
import { createRateLimits } from './rateLimits.ts';
import { addTimer, cancelTimers, newRequest, type Request } from './request.ts';
import { runTask, type Outcome, type RunDeps } from './run.ts';
import type { Executor, ExecutorDeps } from './seams.ts';

export type { Executor, ExecutorDeps, Observer } from './seams.ts';

/** Builds the executor. */
export function createExecutor(deps: ExecutorDeps): Executor {
  const { clock, log, observer, registry } = deps;
  const requests = createRoster<Request>();
  let scheduled = 0;
  let unacked = 0;
  let refusing = 0;
  const holdsSlots = deps.backend.takesRoundTrip;
  const ended: (readonly [Request, Outcome])[] = [];
  /** Tasks that have ended and given up their slots, and are not settled yet. */
  let settling = 0;
  const running = (): number => slots.running + settling;
  const whenIdle = new Set<() => void>();
  const slots = createSlots<Request>(deps.concurrency, (request) => start(request));
  const rateLimits = createRateLimits(clock, (request) => slots.add(request));
  for (const name of registry.names) {
    const rate = parseRate(registry.find(name)?.options.rateLimit);
    if (rate?.perSecond !== undefined) rateLimits.set(name, rate.perSecond);
  }
  let { prefetch } = deps;
  let isGivingBack = false;

  const ack = (request: Request): void => {
    if (request.isAcked) return;
    request.isAcked = true;
    unacked -= 1;
    deps.consumer().ack(request.delivery);
  };
  const forget = (request: Request): void => {
    request.phase = 'done';
    requests.remove(request);
    deps.consumer().wake();
    if (running() === 0) for (const resolve of whenIdle) resolve();
  };
  const settlement: Settlement = {
    ack,
    requeue(request) {
      if (request.isAcked) return;
      request.isAcked = true;
      unacked -= 1;
      deps.consumer().requeue(request.delivery, 'tail');
    },
    replace(request, list, raw) {
      const { isAcked } = request;
      if (!isAcked) unacked -= 1;
      request.isAcked = true;
      deps.consumer().replace(request.delivery, list, raw, isAcked);
    },
  };
  const { succeed, fail, fails, store, conclude, metaOf, failureOf } = createOutcomes(deps, settlement);

  const receive = (delivery: Delivery): void => {
    // Was on its way when the worker stopped taking.
    if (isGivingBack) return deps.consumer().requeue(delivery, 'head');
    const parsed = parseMessage(delivery.raw);
    if (parsed.kind !== 'ok') return drop(delivery, parsed);
    const { message } = parsed;
    const task = registry.find(message.task);
    if (task === undefined) return refuse(delivery, message, 'unknown', new NotRegistered(message.task));
    if (deps.isRevoked(message)) return refuse(delivery, message, 'revoked', new TaskRevokedError('revoked'));
    const nowMs = clock.now();
    const request = newRequest(delivery, message, task, nowMs);
    requests.add(request);
    unacked += 1;
    observer.received(request);
    if (message.etaMs !== undefined && message.etaMs > nowMs) hold(request, message.etaMs);
    else if (!rateLimits.hold(request)) slots.add(request);
  };

  /** No request can be made of it. Nobody can read a malformed message, so it is kept where a person can. */
  const drop = (delivery: Delivery, parsed: Exclude<ReturnType<typeof parseMessage>, { kind: 'ok' }>): void => {
    const { kind, why, id, task } = parsed;
    observer.dropped(kind, task);
    if (kind === 'malformed') {
      const list = deps.consumer().bury(delivery);
      log.error('a message cannot be read; it was moved', { queue: delivery.queue, movedTo: list, why, id, task });
      return;
    }
    log.error('a message is in a form that is not accepted; it was dropped', { queue: delivery.queue, why, id, task });
    deps.consumer().ack(delivery);
  };

  const refuse = (
    delivery: Delivery,
    message: TaskMessage,
    why: 'unknown' | 'revoked' | 'expired',
    error: Error,
  ): void => {
    observer.dropped(why, message.task, message);
    const fields = { task: message.task, id: message.id, queue: delivery.queue };
    if (why === 'unknown') log.error('no such task is registered; its message was dropped', fields);
    else log.info(`a task is ${why}; it does not run`, fields);
    const stored = conclude(message, failureOf(message, why === 'unknown' ? 'FAILURE' : 'REVOKED', error));
    // Counted as waiting meanwhile, so that a backend that is gone does not let the whole queue in.
    refusing += 1;
    Promise.all([stored, why === 'unknown' ? deps.continuation.failed(message, error) : undefined])
      .then(() => deps.consumer().ack(delivery))
      .catch((err: unknown) => {
        log.error('what follows a refused task could not be sent; it stays', { ...fields, err });
        deps.consumer().release(delivery);
      })
      .finally(() => {
        refusing -= 1;
        deps.consumer().wake();
      });
  };

  /** Keeps a task until its time. It takes no slot and no credit: Celery raises its limit by one for each too. */
  const hold = (request: Request, etaMs: number): void => {
    request.phase = 'scheduled';
    scheduled += 1;
    const wait = (): void => {
      // Asked again each time: the wall clock may have been set meanwhile.
      const leftMs = etaMs - clock.now();
      if (leftMs > 0) {
        const timer = clock.setTimer(leftMs, () => {
          request.timers?.delete(timer);
          wait();
        });
        addTimer(request, timer);
        return;
      }
      scheduled -= 1;
      request.phase = 'waiting';
      if (!rateLimits.hold(request)) slots.add(request);
    };
    wait();
  };

  const start = (request: Request): void => {
    const { message } = request;
    const nowMs = clock.now();
    const isExpired = message.expiresMs !== undefined && message.expiresMs <= nowMs;
    if (isExpired || deps.isRevoked(message)) {
      unacked -= 1;
      request.isAcked = true;
      const why = isExpired ? 'expired' : 'revoked';
      refuse(request.delivery, message, why, new TaskRevokedError(why));
      leave(request);
      return;
    }
    request.phase = 'running';
    request.startedAtMs = nowMs;
    if (deps.ackMode === 'early') ack(request);
    if (request.task.options.trackStarted === true) {
      void store(message, metaOf(message, 'STARTED', { pid: process.pid, hostname: deps.hostname }));
    }
    observer.started(request);
    runTask(request, runDeps, (outcome) => finishLater(request, outcome));
  };

  const runDeps: RunDeps = {
    ...{ clock, leftBehind: deps.leftBehind, threads: deps.threads, timeLimits: deps.timeLimits },
    updateState: ({ message }, state, meta) => void store(message, metaOf(message, state, meta)),
    start: ({ message }, signature, id) => deps.continuation.start(message, signature, id),
  };

  /** The next task begins in a turn of its own, so that a chain of short tasks does not overflow the stack. */
  const releaseSlot = (): void => {
    if (slots.waiting === 0) slots.release();
    else queueMicrotask(() => slots.release());
  };
  const leave = (request: Request): void => {
    releaseSlot();
    forget(request);
  };

  /**
   * Outcomes stand when the turn is over: only then it shows what promises a task left behind. Until then the slot is
   * another task's, so that all that ends in a turn is settled together; but not if a backend that is gone could keep the
   * outcome: then the slot stays with it, and the worker takes no more.
   */
  const finishLater = (request: Request, outcome: Outcome): void => {
    if (!holdsSlots) {
      settling += 1;
      releaseSlot();
    }
    ended.push([request, outcome]);
    deps.consumer().wake();
  };
  const settle = (): void => {
    for (const [request, outcome] of ended.splice(0)) finish(request, blamed(request, outcome));
  };
  /** A result that JSON cannot hold makes a failure of what returned. */
  const whyOf = (request: Request, outcome: Outcome): unknown =>
    request.failedWith ?? (outcome.kind === 'threw' ? outcome.error : undefined);
  const blamed = (request: Request, outcome: Outcome): Outcome =>
    request.leftBehind === undefined || outcome.kind === 'threw'
      ? outcome
      : { kind: 'threw', error: request.leftBehind.error };

  /** It never throws: that would leave all others that ended in the same turn unsettled for ever, and end the worker. */
  const settlementOf = (request: Request, outcome: Outcome): string | Promise<string> => {
    try {
      return outcome.kind === 'returned' ? succeed(request, outcome.value) : fail(request, outcome.error);
    } catch (error) {
      // What this throws rejects the promise.
      return new Promise((resolve) => resolve(fails(request, 'FAILURE', error)));
    }
  };

  const finish = (request: Request, outcome: Outcome): void => {
    const { task, id } = request.message;
    const done = (state: string, error?: unknown): void => {
      const value = outcome.kind === 'returned' ? outcome.value : undefined;
      try {
        observer.ended(request, state, (clock.now() - (request.startedAtMs ?? 0)) / 1000, error, value);
      } catch (err) {
        log.error('the end of a task could not be told', { task, id, err });
      }
      left();
    };
    const left = (): void => {
      if (holdsSlots) return leave(request);
      settling -= 1;
      forget(request);
    };
    if (request.phase !== 'running') return left(); // given back meanwhile
    const settled = settlementOf(request, outcome);
    if (typeof settled === 'string') {
      done(settled, whyOf(request, outcome));
      return;
    }
    settled.then(
      (state) => done(state, whyOf(request, outcome)),
      (err: unknown) => {
        // Left unacknowledged: a late task is delivered again, when its visibility timeout has passed.
        if (!request.isAcked) {
          request.isAcked = true;
          unacked -= 1;
          deps.consumer().release(request.delivery);
        }
        log.error('the outcome of a task could not be stored', { task, id, err });
        done('FAILURE', err);
      },
    );
  };

  return {
    receive,
    credit: () =>
      creditOf(prefetch, {
        slots: slots.size,
        running: running(),
        waiting: slots.waiting + rateLimits.waiting + refusing,
        unacked: unacked - scheduled + refusing,
      }),
    requests: () => requests,
    handBack() {
      isGivingBack = true;
      slots.drain();
      const idle = [...requests].filter(({ phase }) => phase === 'waiting' || phase === 'scheduled');
      // The consumer knows in which order they were claimed.
      for (const request of idle) giveBack(request);
      return idle.length;
    },
    takeAgain() {
      isGivingBack = false;
    },
    get isGivingBack() {
      return isGivingBack;
    },
    revoke(isMeant, terminate) {
      const meant = [...requests].filter(({ message }) => isMeant(message));
      for (const request of meant) {
        if (request.phase !== 'running') {
          withdraw(request);
          refuse(request.delivery, request.message, 'revoked', new TaskRevokedError('revoked'));
        } else if (terminate) request.giveUp?.(new TaskRevokedError('terminated'));
      }
      deps.consumer().wake();
      return meant.map(({ message }) => message.id);
    },
    setPrefetch(next) {
      prefetch = next;
      deps.consumer().wake();
    },
    get prefetch() {
      return prefetch;
    },
    rateLimits,
    idle: (signal) =>
      new Promise((resolve) => {
        if (running() === 0) return resolve();
        whenIdle.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      }),
    abandon() {
      const lost: Request[] = [];
      for (const request of [...requests].filter(({ phase }) => phase === 'running')) {
        request.abort?.abort(new Error('the worker ends'));
        if (request.isAcked) lost.push(request);
        else giveBack(request);
      }
      return lost;
    },
    resize(size) {
      slots.resize(size);
      deps.consumer().wake();
    },
    settle,
    slots: {
      get size() {
        return slots.size;
      },
      get running() {
        return running();
      },
      get waiting() {
        return slots.waiting;
      },
    },
  };

  function giveBack(request: Request): void {
    withdraw(request);
    deps.consumer().requeue(request.delivery, 'head');
  }

  /** Its message is no longer this executor's. */
  function withdraw(request: Request): void {
    cancelTimers(request);
    if (request.phase === 'scheduled') scheduled -= 1;
    else if (request.phase === 'waiting' && !rateLimits.remove(request)) slots.remove(request);
    unacked -= 1;
    request.isAcked = true;
    request.phase = 'done';
    requests.remove(request);
  }
}
