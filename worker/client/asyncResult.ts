/** The result of a task that was sent, as far as it is known yet. */
import { parseFailure, RemoteTaskError } from '../protocol/failure.ts';
import type { ResultMeta } from '../protocol/result.ts';
import type { ResultWatch } from '../results/watch.ts';

/** Thrown by `get` when the task had not ended in time. The task goes on. */
export class ResultTimeoutError extends Error {
  override readonly name = 'ResultTimeoutError';
  readonly taskId: string;
  readonly timeoutMs: number;

  constructor(taskId: string, timeoutMs: number) {
    super(`task ${taskId} had not ended within ${timeoutMs} ms`);
    this.taskId = taskId;
    this.timeoutMs = timeoutMs;
  }
}

/** How long to wait for a result. */
export interface GetOptions {
  /** In milliseconds. Default: for ever. */
  readonly timeoutMs?: number;
  /** Ends the wait, with its reason. */
  readonly signal?: AbortSignal;
}

/** A task that was sent. */
export interface AsyncResult<Result = unknown> {
  /** The task's id, by which any Celery client finds it. */
  readonly id: string;
  /**
   * The value that the task returned. Rejects with RemoteTaskError when it failed or was revoked, with ResultTimeoutError
   * when it had not ended in time, and with an Error when no result can be had (no backend, `ignoreResult`).
   */
  get(options?: GetOptions): Promise<Result>;
  /** The state that is stored now: `PENDING` when nothing is, which an unknown id has too. Rejects with a BrokerError. */
  state(): Promise<string>;
  /** All that is stored now; undefined when nothing is. Rejects with a BrokerError. */
  meta(): Promise<ResultMeta | undefined>;
  /** Of a group: its tasks, in order; `get` gives the list of their values, and fails with the first of them that does. */
  readonly members?: readonly AsyncResult[];
}

/**
 * Builds one. A class, because a client makes tens of thousands a second and most are never asked anything: methods of a
 * prototype cost nothing until then.
 * @param watch where results are, or the sentence that says why there are none
 */
export function createAsyncResult<Result>(id: string, watch: ResultWatch | string): AsyncResult<Result> {
  return new SentTask<Result>(id, watch);
}

class SentTask<Result> implements AsyncResult<Result> {
  readonly id: string;
  readonly #watch: ResultWatch | string;

  constructor(id: string, watch: ResultWatch | string) {
    this.id = id;
    this.#watch = watch;
  }

  async get({ timeoutMs, signal }: GetOptions = {}): Promise<Result> {
    const { id } = this;
    const results = this.#backend();
    if (timeoutMs === undefined) return valueOf<Result>(id, await results.wait(id, signal));
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new ResultTimeoutError(id, timeoutMs)), timeoutMs);
    const either = signal === undefined ? limit.signal : AbortSignal.any([limit.signal, signal]);
    try {
      return valueOf<Result>(id, await results.wait(id, either));
    } finally {
      clearTimeout(timer);
    }
  }

  async meta(): Promise<ResultMeta | undefined> {
    return this.#backend().read(this.id);
  }

  async state(): Promise<string> {
    return (await this.meta())?.status ?? 'PENDING';
  }

  #backend(): ResultWatch {
    if (typeof this.#watch === 'string') throw new Error(this.#watch);
    return this.#watch;
  }
}

/** The result of a group. */
export function createGroupResult(id: string, members: readonly AsyncResult[]): AsyncResult<unknown[]> {
  return {
    id,
    members,
    get: (options) => Promise.all(members.map((member) => member.get(options))),
    async state() {
      const states = new Set(await Promise.all(members.map((member) => member.state())));
      for (const state of ['FAILURE', 'REVOKED']) if (states.has(state)) return state;
      return states.size === 1 && states.has('SUCCESS') ? 'SUCCESS' : 'PENDING';
    },
    // A group has no result of its own in Redis.
    meta: () => Promise.resolve(undefined),
  };
}

function valueOf<Result>(id: string, { status, result, traceback }: ResultMeta): Result {
  if (status === 'SUCCESS') return result as Result;
  const failure = parseFailure(result);
  if (failure.kind === 'ok') throw new RemoteTaskError(failure.value, traceback);
  throw new Error(`task ${id} ended with ${status}, and its failure cannot be read: ${failure.why}`);
}
