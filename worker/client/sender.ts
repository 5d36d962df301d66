/**
 * Puts messages into queues. All that is sent in one turn of the event loop goes in one round trip. A lost connection is
 * opened again and what was not answered is sent again, as Celery's producers do; so a message whose answer was lost may lie
 * in its queue twice.
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError, replyFailure } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import { createRedisConnection, isForAPerson } from '../results/redisConnection.ts';
import { isWorthRetrying } from '../transport/exchange.ts';

/** Sends messages. */
export interface Sender {
  /**
   * Puts a message into a list. Resolves when Redis has it. Rejects with a BrokerError when it was not accepted in time;
   * it may lie in the list all the same if the connection was lost.
   */
  send(list: string, raw: string): Promise<void>;
  /** Waits for what is on its way, and ends. */
  close(): Promise<void>;
}

/** What a sender needs. */
export interface SenderOptions {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  /** The most that a round trip may take, in milliseconds. */
  readonly timeoutMs: number;
  /** The most that a message may wait for a broker that is gone or refuses, in milliseconds. */
  readonly giveUpMs: number;
}

interface Item {
  readonly list: string;
  readonly raw: string;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (why: Error) => void;
}

/** A round trip carries at most this. */
const batch = { messages: 1_000, characters: 1024 * 1024 };
const backoffMs = { first: 20, most: 1_000 };

/** Builds a sender; it connects with the first message. */
export function createSender({ endpoint, clock, timeoutMs, giveUpMs }: SenderOptions): Sender {
  const connection = createRedisConnection({ endpoint, clock, timeoutMs, name: 'muster-client' });
  let waiting: Item[] = [];
  let running: Promise<void> | undefined;
  let isClosed = false;

  const work = async (): Promise<void> => {
    // The timers of the clock let a process end; a message on its way must not be left behind.
    const stayAlive = setInterval(() => undefined, 60_000);
    let failures = 0;
    // Lets the callers of this turn add theirs.
    await new Promise((resolve) => setImmediate(resolve));
    while (waiting.length > 0) {
      const items = take();
      const failure = await deliver(items);
      if (failure === undefined) {
        failures = 0;
        continue;
      }
      failures += 1;
      waiting = dropLate([...failure.items, ...waiting], failure.why);
      await clock.sleep(Math.min(backoffMs.most, backoffMs.first * 2 ** failures) * (0.5 + Math.random() / 2));
    }
    clearInterval(stayAlive);
    running = undefined;
  };

  const take = (): Item[] => {
    let characters = 0;
    let count = 0;
    while (count < waiting.length && count < batch.messages && characters < batch.characters) {
      characters += waiting[count]?.raw.length ?? 0;
      count += 1;
    }
    return waiting.splice(0, count);
  };

  /** Sends a batch; gives back what is to be sent again. */
  const deliver = async (items: readonly Item[]): Promise<{ items: Item[]; why: Error } | undefined> => {
    const byList = new Map<string, Item[]>();
    for (const item of items) {
      const same = byList.get(item.list);
      if (same === undefined) byList.set(item.list, [item]);
      else same.push(item);
    }
    const groups = [...byList.values()];
    const commands = groups.map((group): Command => ['lpush', group[0]?.list ?? '', ...group.map(({ raw }) => raw)]);
    let replies: readonly Reply[];
    try {
      replies = await connection.send(commands);
    } catch (err) {
      const why = err instanceof Error ? err : new Error(String(err));
      if (!isForAPerson(err)) return { items: [...items], why };
      for (const item of items) item.reject(why);
      return undefined;
    }
    const again: Item[] = [];
    let why: Error | undefined;
    replies.forEach((reply, at) => {
      const group = groups[at] ?? [];
      if (reply.kind === 'ok') for (const item of group) item.resolve();
      else {
        const failure = replyFailure(endpoint, 'LPUSH', reply.error);
        if (isWorthRetrying(reply)) {
          again.push(...group);
          why = failure;
        } else for (const item of group) item.reject(failure);
      }
    });
    return why === undefined ? undefined : { items: again, why };
  };

  const dropLate = (items: readonly Item[], why: Error): Item[] => {
    const nowMs = clock.monotonicMs();
    const late = items.filter((item) => item.deadlineMs <= nowMs);
    for (const item of late) item.reject(why);
    return late.length === 0 ? [...items] : items.filter((item) => item.deadlineMs > nowMs);
  };

  return {
    send: (list, raw) =>
      new Promise((resolve, reject) => {
        if (isClosed) {
          reject(new BrokerError('Unreachable', 'the client is closed'));
          return;
        }
        waiting.push({ list, raw, deadlineMs: clock.monotonicMs() + giveUpMs, resolve, reject });
        running ??= work();
      }),
    async close() {
      isClosed = true;
      await running;
      connection.close();
    },
  };
}
