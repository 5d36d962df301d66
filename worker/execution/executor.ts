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
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import { createSlots } from '../pool/slots.ts';
import type { Threads } from '../pool/threads.ts';
import { describeError, formatTraceback } from '../protocol/failure.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import { parseMessage, resendMessage, type TaskMessage } from '../protocol/message.ts';
import { failureMeta, type ResultMeta } from '../protocol/result.ts';
import { Ignore, MaxRetriesExceededError, NotRegistered, Reject, Retry, TaskRevokedError } from '../task/errors.ts';
import type { Registry } from '../task/registry.ts';
import { decideRetry } from '../task/retry.ts';
import type { ResultBackend } from '../results/backend.ts';
import type { Consumer } from '../transport/consumer.ts';
import type { Delivery } from '../transport/exchange.ts';
import { creditOf, type AckMode, type Prefetch } from './prefetch.ts';
import { addTimer, cancelTimers, newRequest, type Request } from './request.ts';
import { runTask, type Outcome } from './run.ts';

/** Tells what happens to requests, for metrics, events and logs. */
export interface Observer {
  received(request: Request): void;
  started(request: Request): void;
  /** `state` is the state stored, or `REJECTED`, `IGNORED`. */
  ended(request: Request, state: string, runSeconds: number, error?: unknown): void;
  /** A message that never became a request. */
  dropped(why: 'malformed' | 'refused' | 'unknown' | 'revoked' | 'expired', task: string | undefined): void;
}

/** Starts what follows a task. Absent parts of a message cost nothing: it is asked only when there is something. */
export interface Continuation {
  succeeded(message: TaskMessage, value: unknown): Promise<ResultMeta['children']> | undefined;
  failed(message: TaskMessage, error: unknown): Promise<void> | undefined;
}

/** The executor of a worker. */
export interface Executor {
  receive(delivery: Delivery): void;
  /** How many more messages may be held. */
  credit(): number;
  requests(): Iterable<Request>;
  /** Takes no more, and gives back what does not run, in order, to the head of its queues. Gives how many. */
  handBack(): number;
  /** Resolves when nothing runs any more, or `signal` aborts. */
  idle(signal: AbortSignal): Promise<void>;
  /** Gives up what runs: late tasks go back to their queue. Gives those that are lost (acknowledged early). */
  abandon(): Request[];
  resize(slots: number): void;
  readonly slots: { readonly size: number; readonly running: number; readonly waiting: number };
}

/** What an executor needs. */
export interface ExecutorDeps {
  readonly consumer: () => Consumer;
  readonly registry: Registry;
  readonly backend: ResultBackend;
  readonly keys: BrokerKeys;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer: Observer;
  readonly continuation: Continuation;
  readonly isRevoked: (message: TaskMessage) => boolean;
  /** Runs the tasks that ask for a thread. */
  readonly threads?: Threads | undefined;
  readonly hostname: string;
  readonly concurrency: number;
  readonly prefetch: Prefetch;
  readonly ackMode: AckMode;
}

/** Timers of Node overflow beyond 2^31 ms: a longer wait is made of several. */
const longestTimerMs = 2_000_000_000;

/** Builds the executor. */
export function createExecutor(deps: ExecutorDeps): Executor {
  const { clock, log, observer, backend, registry } = deps;
  const requests = new Map<string, Request>();
  let scheduled = 0;
  let unacked = 0;
  const whenIdle = new Set<() => void>();
  const slots = createSlots<Request>(deps.concurrency, (request) => start(request));

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
  /** Stores a state; what cannot be stored now is tried again by the backend. */
  const store = (message: TaskMessage, meta: ResultMeta): Promise<void> | undefined => {
    const isIgnored = message.ignoreResult || registry.find(message.task)?.options.ignoreResult === true;
    return isIgnored ? undefined : backend.store(meta);
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
    else slots.add(request);
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
    observer.dropped(why, message.task);
    const fields = { task: message.task, id: message.id, queue: delivery.queue };
    if (why === 'unknown') log.error('no such task is registered; its message was dropped', fields);
    else log.info(`a task is ${why}; it does not run`, fields);
    const stored = store(message, failureOf(message, why === 'unknown' ? 'FAILURE' : 'REVOKED', error));
    const settle = (): void => deps.consumer().ack(delivery.tag);
    void Promise.all([stored, why === 'unknown' ? deps.continuation.failed(message, error) : undefined]).then(settle);
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
      slots.add(request);
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
    runTask(request, { clock, updateState, threads: deps.threads }, (outcome) => finish(request, outcome));
  };

  const updateState = (request: Request, state: string, meta: unknown): void => {
    void store(request.message, metaOf(request.message, state, meta));
  };

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
      observer.ended(request, state, (clock.now() - (request.startedAtMs ?? 0)) / 1000, error);
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
        stored = store(message, children === undefined ? meta : { ...meta, children });
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

  const fails = (request: Request, state: 'FAILURE' | 'REVOKED', error: unknown): string | Promise<string> => {
    const { message } = request;
    const waits = [deps.continuation.failed(message, error), store(message, failureOf(message, state, error))];
    const pending = waits.filter((wait) => wait !== undefined);
    if (pending.length === 0) return (ack(request), state);
    return Promise.all(pending).then(() => (ack(request), state));
  };

  /** A new message with the same id, as Celery's retry is; it is sent in the round trip that acknowledges the old one. */
  const retry = (request: Request, thrown: unknown, delaySeconds: number): string | Promise<string> => {
    const { message, delivery } = request;
    const resent = resendMessage(delivery.raw, {
      tag: randomUUID(),
      headers: {
        retries: message.retries + 1,
        eta: new Date(clock.now() + delaySeconds * 1000).toISOString(),
        parent_id: message.id,
        redelivered: undefined,
      },
    });
    if (resent.kind !== 'ok') return fails(request, 'FAILURE', thrown);
    deps.consumer().send(['lpush', deps.keys.queue(delivery.queue, message.priority), resent.value.raw]);
    const cause = thrown instanceof Retry && thrown.cause !== undefined ? thrown.cause : thrown;
    const stored = store(message, failureOf(message, 'RETRY', cause));
    if (stored !== undefined) return stored.then(() => (ack(request), 'RETRY'));
    ack(request);
    return 'RETRY';
  };

  return {
    receive,
    credit: () =>
      creditOf(deps.prefetch, {
        slots: slots.size,
        running: slots.running,
        waiting: slots.waiting,
        unacked: unacked - scheduled,
      }),
    requests: () => requests.values(),
    handBack() {
      slots.drain();
      const idle = [...requests.values()].filter(({ phase }) => phase === 'waiting' || phase === 'scheduled');
      // The last one first: each goes to the head, so that the first one is at the head in the end.
      for (const request of idle.reverse()) giveBack(request);
      return idle.length;
    },
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
    cancelTimers(request);
    if (request.phase === 'scheduled') scheduled -= 1;
    unacked -= 1;
    request.isAcked = true;
    request.phase = 'done';
    requests.delete(request.delivery.tag);
    deps.consumer().requeue(request.delivery, 'head');
  }
}
