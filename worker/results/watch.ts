/**
 * Waits for results without polling: Celery publishes every state on a channel named like its key. Subscribed first and read
 * then, so that a result that comes in between is not missed; after a lost connection both are done again.
 */
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError, replyFailure } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { ResultKeys } from '../protocol/keys.ts';
import { parseResultMeta, readyStates, type ResultMeta } from '../protocol/result.ts';
import { createRedisConnection, isForAPerson } from './redisConnection.ts';
import { openSubscriber, type Subscriber } from './subscriber.ts';

/** Reads results, and waits for them. */
export interface ResultWatch {
  /** What is stored now; undefined when nothing is. Rejects with a BrokerError. */
  read(taskId: string): Promise<ResultMeta | undefined>;
  /**
   * The end of a task: SUCCESS, FAILURE or REVOKED. Waits over lost connections, until the signal aborts (with its reason).
   * Rejects with a BrokerError for a password, permission or database that is wrong.
   */
  wait(taskId: string, signal?: AbortSignal): Promise<ResultMeta>;
  close(): void;
}

/** What a watch needs. */
export interface ResultWatchOptions {
  readonly endpoint: BrokerEndpoint;
  readonly keys: ResultKeys;
  readonly clock: Clock;
  /** The most that connecting or a round trip may take, in milliseconds. */
  readonly timeoutMs: number;
}

interface Waiter {
  readonly done: (meta: ResultMeta) => void;
  readonly fail: (why: Error) => void;
}

/** Pause before a lost connection is opened again, doubling, in milliseconds. */
const backoffMs = { first: 50, most: 5_000 };

/** Builds a watch; it connects when it is first asked something. */
export function createResultWatch(options: ResultWatchOptions): ResultWatch {
  const { endpoint, keys, clock, timeoutMs } = options;
  const reader = createRedisConnection({ endpoint, clock, timeoutMs, name: 'muster-results' });
  const waiters = new Map<string, { taskId: string; all: Set<Waiter> }>();
  /** Channels that are waited for and not subscribed yet. */
  let fresh: string[] = [];
  let subscriber: Subscriber | undefined;
  let isBusy = false;
  let isClosed = false;
  let failures = 0;

  const settle = (channel: string, text: string): void => {
    const waiting = waiters.get(channel);
    if (waiting === undefined) return;
    const parsed = parseResultMeta(text);
    if (parsed.kind === 'ok' && !readyStates.has(parsed.value.status)) return;
    forget(channel);
    for (const { done, fail } of waiting.all) {
      if (parsed.kind === 'ok') done(parsed.value);
      else fail(new Error(`the result of task ${waiting.taskId} cannot be read: ${parsed.why}`));
    }
  };
  const failAll = (channel: string, why: Error): void => {
    const waiting = waiters.get(channel);
    forget(channel);
    for (const { fail } of waiting?.all ?? []) fail(why);
  };
  const forget = (channel: string): void => {
    waiters.delete(channel);
    subscriber?.unsubscribe([channel]);
  };
  const readAll = async (channels: readonly string[]): Promise<(string | null)[]> => {
    const [reply] = await reader.send([['mget', ...channels]]);
    if (reply?.kind !== 'ok') throw replyFailure(endpoint, 'MGET', reply?.error ?? new Error('no answer'));
    return reply.value as (string | null)[];
  };

  /** Subscribes to what is new and reads it, in batches, one at a time. */
  const work = async (): Promise<void> => {
    if (isBusy) return;
    isBusy = true;
    while (fresh.length > 0 && !isClosed) {
      const channels = fresh.splice(0, 500).filter((channel) => waiters.has(channel));
      if (channels.length === 0) continue;
      try {
        subscriber ??= await open();
        await subscriber.subscribe(channels);
        // Given up while the subscription was on its way: nobody else would end it.
        const left = channels.filter((channel) => !waiters.has(channel));
        if (left.length > 0) subscriber.unsubscribe(left);
        const texts = await readAll(channels);
        texts.forEach((text, at) => text !== null && settle(channels[at] ?? '', text));
        failures = 0;
      } catch (err) {
        const why = err instanceof Error ? err : new Error(String(err));
        if (!(err instanceof BrokerError) || isForAPerson(err)) {
          for (const channel of channels) failAll(channel, why);
          continue;
        }
        fresh.push(...channels);
        failures += 1;
        await clock.sleep(Math.min(backoffMs.most, backoffMs.first * 2 ** failures) * (0.5 + Math.random() / 2));
      }
    }
    isBusy = false;
  };
  const open = async (): Promise<Subscriber> => {
    const opened: Subscriber = await openSubscriber({
      ...{ endpoint, clock, timeoutMs, onMessage: settle },
      onLost: () => {
        subscriber = undefined;
        // Whatever was published meanwhile was not heard.
        fresh = [...waiters.keys()];
        schedule();
      },
    });
    if (isClosed) opened.close();
    return opened;
  };
  /** Lets all that is asked in this turn of the event loop go in one command. */
  const schedule = (): void => void setImmediate(() => void work());

  return {
    async read(taskId) {
      const [text] = await readAll([keys.taskMeta(taskId)]);
      if (text === null || text === undefined) return undefined;
      const parsed = parseResultMeta(text);
      if (parsed.kind === 'ok') return parsed.value;
      throw new Error(`the result of task ${taskId} cannot be read: ${parsed.why}`);
    },
    wait: (taskId, signal) =>
      new Promise((resolve, reject) => {
        if (isClosed || signal?.aborted === true) {
          reject(isClosed ? closed() : (signal?.reason as Error));
          return;
        }
        const channel = keys.taskMeta(taskId);
        // The timers of the clock let a process end; somebody who waits for a result means to wait.
        const stayAlive = setInterval(() => undefined, 60_000);
        const waiter: Waiter = {
          done: (meta) => {
            release();
            resolve(meta);
          },
          fail: (why) => {
            release();
            reject(why);
          },
        };
        const onAbort = (): void => {
          waiter.fail(signal?.reason as Error);
          const waiting = waiters.get(channel);
          waiting?.all.delete(waiter);
          if (waiting?.all.size === 0) forget(channel);
        };
        const release = (): void => {
          clearInterval(stayAlive);
          signal?.removeEventListener('abort', onAbort);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        const waiting = waiters.get(channel);
        if (waiting !== undefined) {
          waiting.all.add(waiter);
          return;
        }
        waiters.set(channel, { taskId, all: new Set([waiter]) });
        fresh.push(channel);
        schedule();
      }),
    close() {
      isClosed = true;
      subscriber?.close();
      reader.close();
      const left = [...waiters.values()];
      waiters.clear();
      for (const { all } of left) for (const { fail } of all) fail(closed());
    },
  };
}

function closed(): Error {
  return new Error('the client was closed while a result was waited for');
}
