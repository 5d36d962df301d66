/** What becomes of a task that has ended: its state is stored, what follows it is started, its message is settled. */
import { randomUUID } from 'node:crypto';
import { describeError, formatTraceback } from '../protocol/failure.ts';
import type { TaskMessage } from '../protocol/message.ts';
import { failureMeta, type ResultMeta } from '../protocol/result.ts';
import {
  Ignore,
  MaxRetriesExceededError,
  Reject,
  Replaced,
  Retry,
  TaskRevokedError,
  UncaughtError,
} from '../task/errors.ts';
import { decideRetry } from '../task/retry.ts';
import type { Request } from './request.ts';
import { buildRetryMessage, canSayEta } from './retryMessage.ts';
import type { ExecutorDeps } from './seams.ts';

/** How a message is settled. Each does nothing, or only what is left to do, for one that was acknowledged early. */
export interface Settlement {
  readonly ack: (request: Request) => void;
  /** Back to its queue, to be served last. */
  readonly requeue: (request: Request) => void;
  /** Another message stands for it. */
  readonly replace: (request: Request, list: string, raw: string) => void;
}

/** A state that was stored, or `IGNORED`, `REJECTED`; a promise when that takes a round trip. */
type Settled = string | Promise<string>;

/** Ends of tasks. */
export interface Outcomes {
  readonly succeed: (request: Request, value: unknown) => Settled;
  readonly fail: (request: Request, thrown: unknown) => Settled;
  /** Stores a failure whatever the task's options say of its errors: no retry follows. */
  readonly fails: (request: Request, state: 'FAILURE' | 'REVOKED', error: unknown) => Settled;
  /** Stores a state; what cannot be stored now is tried again by the backend. */
  readonly store: (message: TaskMessage, meta: ResultMeta) => Promise<void> | undefined;
  /** Stores an end. That of a part of a chord is counted too. */
  readonly conclude: (message: TaskMessage, meta: ResultMeta) => Promise<void> | undefined;
  readonly metaOf: (message: TaskMessage, status: string, result: unknown) => ResultMeta;
  readonly failureOf: (message: TaskMessage, state: 'FAILURE' | 'RETRY' | 'REVOKED', error: unknown) => ResultMeta;
}

/** Builds it. */
export function createOutcomes(deps: ExecutorDeps, { ack, requeue, replace }: Settlement): Outcomes {
  const { clock, registry, backend, continuation } = deps;

  const isIgnored = (message: TaskMessage): boolean =>
    message.ignoreResult || registry.find(message.task)?.options.ignoreResult === true;
  const store: Outcomes['store'] = (message, meta) => (isIgnored(message) ? undefined : backend.store(meta));
  const conclude: Outcomes['conclude'] = (message, meta) => {
    if (message.embed.chord === undefined) return store(message, meta);
    return continuation.ended(message, meta, !isIgnored(message)) ?? store(message, meta);
  };
  const metaOf: Outcomes['metaOf'] = (message, status, result) => ({
    ...{ taskId: message.id, status, result, dateDoneMs: clock.now() },
    ...(message.groupId === undefined ? {} : { groupId: message.groupId }),
    ...(message.parentId === undefined ? {} : { parentId: message.parentId }),
  });
  const failureOf: Outcomes['failureOf'] = (message, state, error) =>
    failureMeta(message.id, state, describeError(error), {
      ...metaOf(message, state, undefined),
      ...(state === 'REVOKED' ? {} : { traceback: formatTraceback(error) }),
    });

  const succeed = (request: Request, value: unknown): Settled => {
    const { message } = request;
    const following = continuation.succeeded(message, value);
    const finishWith = (children: ResultMeta['children']): Settled => {
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

  const fail = (request: Request, thrown: unknown): Settled => {
    const { message, task } = request;
    // Not retried: each retry would end one more worker.
    if (thrown instanceof UncaughtError) return fails(request, 'FAILURE', thrown.cause);
    if (thrown instanceof Replaced) return replaced(request, thrown);
    if (thrown instanceof Ignore) return (ack(request), 'IGNORED');
    if (thrown instanceof Reject) {
      if (thrown.requeue) requeue(request);
      else ack(request);
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

  const replaced = (request: Request, { by }: Replaced): Settled => {
    try {
      const sent = continuation.replaced(request.message, by);
      if (sent !== undefined) return sent.then(() => (ack(request), 'IGNORED'));
    } catch (error) {
      return fails(request, 'FAILURE', error);
    }
    ack(request);
    return 'IGNORED';
  };

  const fails = (request: Request, state: 'FAILURE' | 'REVOKED', error: unknown): Settled => {
    const { message } = request;
    request.failedWith = error;
    const stored = conclude(message, failureOf(message, state, error));
    const waits = [stored, state === 'FAILURE' ? continuation.failed(message, error) : undefined];
    const pending = waits.filter((wait) => wait !== undefined);
    if (pending.length === 0) return (ack(request), state);
    return Promise.all(pending).then(() => (ack(request), state));
  };

  /** A new message with the same id, as Celery's retry is; it is sent in the round trip that acknowledges the old one. */
  const retry = (request: Request, thrown: unknown, delaySeconds: number): Settled => {
    const { message, delivery } = request;
    const etaMs = clock.now() + delaySeconds * 1000;
    const cause = thrown instanceof Retry && thrown.cause !== undefined ? thrown.cause : thrown;
    if (!canSayEta(etaMs)) {
      const why = `${message.task} cannot be retried in ${String(delaySeconds)} seconds: no date can say when that is`;
      return fails(request, 'FAILURE', new RangeError(why, { cause }));
    }
    const raw = buildRetryMessage(message, delivery.raw, randomUUID(), etaMs);
    const send = (): string => {
      replace(request, deps.keys.queue(delivery.queue, message.priority), raw);
      return 'RETRY';
    };
    const stored = store(message, failureOf(message, 'RETRY', cause));
    return stored === undefined ? send() : stored.then(send);
  };

  return { succeed, fail, fails, store, conclude, metaOf, failureOf };
}
