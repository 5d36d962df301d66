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
import { randomUUID } from 'node:crypto';
import { createSlots } from '../pool/slots.ts';
import { describeError, formatTraceback } from '../protocol/failure.ts';
import { parseMessage, type TaskMessage } from '../protocol/message.ts';
import { failureMeta, type ResultMeta } from '../protocol/result.ts';
import type { Signature } from '../protocol/signature.ts';
import {
  Ignore,
  MaxRetriesExceededError,
  NotRegistered,
  Reject,
  Replaced,
  Retry,
  TaskRevokedError,
} from '../task/errors.ts';
import { parseRate } from '../task/rate.ts';
import { decideRetry } from '../task/retry.ts';
import type { Delivery } from '../transport/exchange.ts';
import { creditOf } from './prefetch.ts';
import { createRateLimits } from './rateLimits.ts';
import { addTimer, cancelTimers, newRequest, type Request } from './request.ts';
import { buildRetryMessage } from './retryMessage.ts';
import { runTask, type Outcome } from './run.ts';
import type { Executor, ExecutorDeps } from './seams.ts';

export type { Executor, ExecutorDeps, Observer } from './seams.ts';

/** Timers of Node overflow beyond 2^31 ms: a longer wait is made of several. */
const longestTimerMs = 2_000_000_000;

/** Builds the executor. */
export function createExecutor(deps: ExecutorDeps): Executor {
  const { clock, log, observer, backend, registry } = deps;
  const requests = new Map<string, Request>();
  let scheduled = 0;
  let unacked = 0;
  let refusing = 0;
  const whenIdle = new Set<() => void>();
  const slots = createSlots<Request>(deps.concurrency, (request) => start(request));
  const rateLimits = createRateLimits(clock, (request) => slots.add(request));
  for (const name of registry.names) {
    const rate = parseRate(registry.find(name)?.options.rateLimit);
    if (rate?.perSecond !== undefined) rateLimits.set(name, rate.perSecond);
  }
  let { prefetch } = deps;
  let isGivingBack = false;
  const late: Delivery[] = [];

  const ack = (request: Request): void => {
    if (request.isAcked) return;
    request.isAcked = true;
    unacked -= 1;
    deps.consumer().ack(request.delivery.tag);
  };
  const forget = (request: Request): void => {
    request.phase = 'done';
    requests.delete(request.delivery.tag);
    deps.consumer().wake();
    if (slots.running === 0) for (const resolve of whenIdle) resolve();
  };
  const isIgnored = (message: TaskMessage): boolean =>
    message.ignoreResult || registry.find(message.task)?.options.ignoreResult === true;
  /** Stores a state; what cannot be stored now is tried again by the backend. */
  const store = (message: TaskMessage, meta: ResultMeta): Promise<void> | undefined =>
    isIgnored(message) ? undefined : backend.store(meta);
  /** Stores an end. That of a part of a chord is counted too. */
  const conclude = (message: TaskMessage, meta: ResultMeta): Promise<void> | undefined => {
    if (message.embed.chord === undefined) return store(message, meta);
    return deps.continuation.ended(message, meta, !isIgnored(message)) ?? store(message, meta);
  };
  const metaOf = (message: TaskMessage, status: string, result: unknown): ResultMeta => ({
    ...{ taskId: message.id, status, result, dateDoneMs: clock.now() },
    ...(message.groupId === undefined ? {} : { groupId: message.groupId }),
    ...(message.parentId === undefined ? {} : { parentId: message.parentId }),
  });
  const failureOf = (message: TaskMessage, state: 'FAILURE' | 'RETRY' | 'REVOKED', error: unknown): ResultMeta =>
    failureMeta(message.id, state, describeError(error), {
      ...metaOf(message, state, undefined),
      ...(state === 'REVOKED' ? {} : { traceback: formatTraceback(error) }),
    });

  const receive = (delivery: Delivery): void => {
    if (isGivingBack) return giveBackLate(delivery);
    const parsed = parseMessage(delivery.raw);
    if (parsed.kind !== 'ok') return drop(delivery, parsed);
    const { message } = parsed;
    const task = registry.find(message.task);
    if (task === undefined) return refuse(delivery, message, 'unknown', new NotRegistered(message.task));
    if (deps.isRevoked(message)) return refuse(delivery, message, 'revoked', new TaskRevokedError('revoked'));
    const nowMs = clock.now();
    const request = newRequest(delivery, message, task, nowMs);
    requests.set(delivery.tag, request);
    unacked += 1;
    observer.received(request);
    if (message.etaMs !== undefined && message.etaMs > nowMs) hold(request, message.etaMs);
    else if (!rateLimits.hold(request)) slots.add(request);
  };

  /** Was on its way when the worker stopped taking. All of one answer go back in order: the last one first. */
  const giveBackLate = (delivery: Delivery): void => {
    if (late.push(delivery) > 1) return;
    queueMicrotask(() => {
      for (const each of late.splice(0).reverse()) deps.consumer().requeue(each, 'head');
    });
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
    deps.consumer().ack(delivery.tag);
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
      .then(() => deps.consumer().ack(delivery.tag))
      .catch((err: unknown) => log.error('what follows a refused task could not be sent; it stays', { ...fields, err }))
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
      const leftMs = etaMs - clock.now();
      if (leftMs > 0) {
        const timer = clock.setTimer(Math.min(leftMs, longestTimerMs), () => {
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
    runTask(
      request,
      { clock, updateState, start: startChild, threads: deps.threads, timeLimits: deps.timeLimits },
      (outcome) => finish(request, outcome),
    );
  };

  const updateState = (request: Request, state: string, meta: unknown): void => {
    void store(request.message, metaOf(request.message, state, meta));
  };

  const startChild = (request: Request, signature: Signature, id?: string): string =>
    deps.continuation.start(request.message, signature, id);

  /** The slot is free; the next one begins in a turn of its own, so that a chain of short tasks does not overflow the stack. */
  const leave = (request: Request): void => {
    if (slots.waiting === 0) release(request);
    else queueMicrotask(() => release(request));
  };
  const release = (request: Request): void => {
    slots.release();
    forget(request);
  };

  const finish = (request: Request, outcome: Outcome): void => {
    const done = (state: string, error?: unknown): void => {
      const value = outcome.kind === 'returned' ? outcome.value : undefined;
      observer.ended(request, state, (clock.now() - (request.startedAtMs ?? 0)) / 1000, error, value);
      leave(request);
    };
    if (request.phase !== 'running') return; // given up meanwhile
    const settled = outcome.kind === 'returned' ? succeed(request, outcome.value) : fail(request, outcome.error);
    if (typeof settled === 'string') {
      done(settled, outcome.kind === 'threw' ? outcome.error : undefined);
      return;
    }
    settled.then(
      (state) => done(state, outcome.kind === 'threw' ? outcome.error : undefined),
      (err: unknown) => {
        // Left unacknowledged: a late task is delivered again.
        log.error('the outcome of a task could not be stored', {
          task: request.message.task,
          id: request.message.id,
          err,
        });
        done('FAILURE', err);
      },
    );
  };

  const succeed = (request: Request, value: unknown): string | Promise<string> => {
    const { message } = request;
    const following = deps.continuation.succeeded(message, value);
    const finishWith = (children: ResultMeta['children']): string | Promise<string> => {
      let stored: Promise<void> | undefined;
      try {
        const meta = metaOf(message, 'SUCCESS', value === undefined ? null : value);
        stored = conclude(message, children === undefined ? meta : { ...meta, children });
      } catch (error) {
        return fail(request, error);
      }
      if (stored !== undefined) return stored.then(() => (ack(request), 'SUCCESS'));
      ack(request);
      return 'SUCCESS';
    };
    return following === undefined
      ? finishWith(undefined)
      : following.then(finishWith, (error: unknown) => fail(request, error));
  };

  const fail = (request: Request, thrown: unknown): string | Promise<string> => {
    const { message, task, delivery } = request;
    if (thrown instanceof Replaced) return replace(request, thrown);
    if (thrown instanceof Ignore) return (ack(request), 'IGNORED');
    if (thrown instanceof Reject) {
      if (thrown.requeue && !request.isAcked) {
        request.isAcked = true;
        unacked -= 1;
        deps.consumer().requeue(delivery, 'tail');
      } else ack(request);
      return 'REJECTED';
    }
    if (request.givenUp instanceof TaskRevokedError) return fails(request, 'REVOKED', request.givenUp);
    const decision = decideRetry(thrown, task.options, message.retries, Math.random());
    if (decision.kind === 'retry') return retry(request, thrown, decision.delaySeconds);
    const cause = thrown instanceof Retry ? thrown.cause : undefined;
    const error =
      decision.kind === 'exhausted' ? (cause ?? new MaxRetriesExceededError(message.task, message.id)) : thrown;
    return fails(request, 'FAILURE', error);
  };

  const replace = (request: Request, { by }: Replaced): string | Promise<string> => {
    try {
      const sent = deps.continuation.replaced(request.message, by);
      if (sent !== undefined) return sent.then(() => (ack(request), 'IGNORED'));
    } catch (error) {
      return fails(request, 'FAILURE', error);
    }
    ack(request);
    return 'IGNORED';
  };

  const fails = (request: Request, state: 'FAILURE' | 'REVOKED', error: unknown): string | Promise<string> => {
    const { message } = request;
    const stored = conclude(message, failureOf(message, state, error));
    const waits = [stored, state === 'FAILURE' ? deps.continuation.failed(message, error) : undefined];
    const pending = waits.filter((wait) => wait !== undefined);
    if (pending.length === 0) return (ack(request), state);
    return Promise.all(pending).then(() => (ack(request), state));
  };

  /** A new message with the same id, as Celery's retry is; it is sent in the round trip that acknowledges the old one. */
  const retry = (request: Request, thrown: unknown, delaySeconds: number): string | Promise<string> => {
    const { message, delivery } = request;
    const raw = buildRetryMessage(message, delivery.raw, randomUUID(), clock.now() + delaySeconds * 1000);
    const send = (): string => {
      const { isAcked } = request;
      if (!isAcked) unacked -= 1;
      request.isAcked = true;
      deps.consumer().replace(delivery, deps.keys.queue(delivery.queue, message.priority), raw, isAcked);
      return 'RETRY';
    };
    const cause = thrown instanceof Retry && thrown.cause !== undefined ? thrown.cause : thrown;
    const stored = store(message, failureOf(message, 'RETRY', cause));
    return stored === undefined ? send() : stored.then(send);
  };

  return {
    receive,
    credit: () =>
      creditOf(prefetch, {
        slots: slots.size,
        running: slots.running,
        waiting: slots.waiting + rateLimits.waiting + refusing,
        unacked: unacked - scheduled + refusing,
      }),
    requests: () => requests.values(),
    handBack() {
      isGivingBack = true;
      slots.drain();
      const idle = [...requests.values()].filter(({ phase }) => phase === 'waiting' || phase === 'scheduled');
      // The last one first: each goes to the head, so that the first one is at the head in the end.
      for (const request of idle.reverse()) giveBack(request);
      return idle.length;
    },
    takeAgain() {
      isGivingBack = false;
    },
    get isGivingBack() {
      return isGivingBack;
    },
    revoke(isMeant, terminate) {
      const meant = [...requests.values()].filter(({ message }) => isMeant(message));
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
        if (slots.running === 0) return resolve();
        whenIdle.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      }),
    abandon() {
      const lost: Request[] = [];
      for (const request of [...requests.values()].filter(({ phase }) => phase === 'running')) {
        request.abort?.abort(new Error('the worker ends'));
        if (request.isAcked) lost.push(request);
        else giveBack(request);
      }
      return lost;
    },
    resize: (size) => slots.resize(size),
    slots,
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
    requests.delete(request.delivery.tag);
  }
}
