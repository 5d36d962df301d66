/**
 * Consumes queues: claims as many messages as the worker may hold, and settles those that it is done with, in as few
 * round trips as there can be. Nothing polls: when the lists are empty, Redis announces the next message.
 *
 *   settle(…), credit ──flush──► one pipeline: [results …, exchange] ──► deliveries ──► the worker ──► settle(…)
 *
 * Several calls may be under way, so that a slow network costs latency and not throughput. What a call carried is kept
 * until its answer is here and sent again over the next connection: every part of it does nothing the second time.
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError } from '../../operator/broker/failures.ts';
import type { Clock, Timer } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import { buildExchange, readClaimed, servingOrder, type Call, type Delivery, type Move } from './exchange.ts';
import { createLink, type Link, type LinkState } from './link.ts';
import { markRedelivered, splitUnacked } from './restored.ts';
import { scripts } from './script.ts';

/** A consumer of some queues. */
export interface Consumer {
  /** Done with a message. */
  ack(tag: string): void;
  /** Puts a message back: the tail is served last (as a reject with requeue), the head next (as a restore). */
  requeue(delivery: Delivery, end: 'head' | 'tail'): void;
  /** Takes a message that no worker can read out of the way, into the list `muster.malformed.QUEUE`; gives the list's name. */
  bury(delivery: Delivery): string;
  /** Sends a command before the next settlement; sent again until Redis has taken it. */
  send(command: Command): void;
  /** The worker may hold more than before. */
  wake(): void;
  addQueue(queue: string): void;
  cancelQueue(queue: string): void;
  queues(): readonly string[];
  /** Claims nothing any more; `false` goes on. */
  pause(isPaused: boolean): void;
  /** Tags that are held; they are kept visible. */
  held(): ReadonlySet<string>;
  state(): LinkState;
  /** Resolves when everything given so far was taken by Redis, or when `signal` aborts. */
  flushed(signal: AbortSignal): Promise<void>;
  /** Ends the connection; what was not flushed is lost. */
  close(): Promise<void>;
}

/** What a consumer needs. */
export interface ConsumerOptions {
  readonly endpoint: BrokerEndpoint;
  readonly keys: BrokerKeys;
  readonly queues: readonly string[];
  /** Unique to this process: under it Redis remembers what was claimed. */
  readonly consumerId: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeoutMs: number;
  readonly visibilityTimeoutSeconds: number;
  /** How many more messages the worker may hold now. */
  readonly credit: () => number;
  readonly onDelivery: (delivery: Delivery) => void;
}

/** The most that one call claims, settles, or keeps on its way. */
const most = { claims: 200, settlements: 1000, calls: 8, restored: 100 };
const pollMs = 1_000;
const retryMs = 500;
const sweepMs = 60_000;

/** Starts to consume. */
export function createConsumer(options: ConsumerOptions): Consumer {
  const { clock, log, keys } = options;
  const claimsKey = `${keyPrefixOf(keys)}muster.claims.${options.consumerId}`;
  const held = new Set<string>();
  let queues = [...options.queues];
  const acks: string[] = [];
  const moves: Move[] = [];
  let outbox: Command[] = [];
  /** Claims whose answer is here, to be forgotten by Redis. */
  const confirmed: number[] = [];
  const underWay = new Map<number, { readonly call: Call; readonly commands: readonly Command[] }>();
  /** Calls whose answer never came: what they claimed is looked up over the next connection. */
  const unanswered: number[] = [];
  let reserved = 0;
  let nextNumber = 1;
  let isWatched = false;
  let wakes = 0;
  let isPaused = false;
  let isClosed = false;
  let isScheduled = false;
  let notBeforeMs = -Infinity;
  let problem = '';
  const idle = new Set<() => void>();
  const timers = new Set<Timer>();

  const schedule = (): void => {
    if (isScheduled || isClosed) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      flush();
    });
  };
  const wake = (): void => {
    wakes += 1;
    isWatched = false;
    schedule();
  };
  const later = (ms: number, fn: () => void): void => {
    const timer = clock.setTimer(ms, () => {
      timers.delete(timer);
      fn();
    });
    timers.add(timer);
  };

  const take = (delivery: Delivery): void => {
    held.add(delivery.tag);
    options.onDelivery(delivery);
  };

  const flush = (): void => {
    if (isClosed || link.state().kind !== 'open' || underWay.size >= most.calls) return;
    const waitMs = notBeforeMs - clock.monotonicMs();
    if (waitMs > 0) return;
    const limit = isWatched || isPaused || queues.length === 0 ? 0 : Math.min(most.claims, options.credit() - reserved);
    if (limit <= 0 && acks.length + moves.length + outbox.length === 0) return settleIdle();
    const call: Call = {
      number: nextNumber++,
      limit: Math.max(0, limit),
      acks: acks.splice(0, most.settlements),
      moves: moves.splice(0, most.settlements),
      confirmed: confirmed.splice(0, most.settlements),
      lists: servingOrder(keys, queues),
    };
    const commands = outbox;
    outbox = [];
    reserved += call.limit;
    underWay.set(call.number, { call, commands });
    void send(call, commands, wakes);
    if (acks.length + moves.length > 0) schedule();
  };

  const send = async (call: Call, commands: readonly Command[], wakesBefore: number): Promise<void> => {
    try {
      const replies = await link.send([...commands, buildExchange(keys, claimsKey, call)]);
      underWay.delete(call.number);
      reserved -= call.limit;
      outbox.push(...commands.filter((_, place) => isWorthRetrying(replies[place])));
      const last = replies[commands.length];
      if (last?.kind !== 'ok') throw last?.error ?? new Error('no answer');
      const claimed = readClaimed(call, last);
      if (claimed.deliveries.length > 0) confirmed.push(call.number);
      if (claimed.problem !== problem) {
        problem = claimed.problem;
        if (problem !== '') log.error('a queue cannot be read', { why: problem });
      }
      rotate(claimed.deliveries.at(-1)?.queue);
      if (claimed.isWatched && wakes === wakesBefore) isWatched = true;
      for (const delivery of claimed.deliveries) take(delivery);
    } catch (err) {
      await refused(call, commands, err);
    }
    schedule();
  };

  /** A call without effect: everything that it carried goes into the next one. */
  const refused = async (call: Call, commands: readonly Command[], err: unknown): Promise<void> => {
    const wasUnderWay = underWay.delete(call.number);
    if (wasUnderWay) {
      // The connection ended before the answer: the script may have run.
      reserved -= call.limit;
      outbox.unshift(...commands);
      if (call.limit > 0) unanswered.push(call.number);
    }
    acks.unshift(...call.acks);
    moves.unshift(...call.moves);
    confirmed.unshift(...call.confirmed);
    if (err instanceof BrokerError) return;
    const why = err instanceof Error ? err.message : String(err);
    if (why.includes('NOSCRIPT')) {
      await link
        .send(Object.values(scripts).map(({ source }): Command => ['script', 'LOAD', source]))
        .catch(() => undefined);
      return;
    }
    log.warn('the broker refuses, trying again', { why });
    notBeforeMs = clock.monotonicMs() + retryMs;
    later(retryMs, wake);
  };

  /** The queue served last comes last, as kombu's round robin does. */
  const rotate = (served: string | undefined): void => {
    if (served === undefined || queues.length < 2 || !queues.includes(served)) return;
    queues = [...queues.filter((queue) => queue !== served), served];
  };

  const settleIdle = (): void => {
    if (underWay.size > 0) return;
    for (const resolve of idle) resolve();
    idle.clear();
  };

  /** Finds what calls claimed whose answer was lost with the connection. */
  const recover = async (): Promise<void> => {
    for (let number = unanswered.shift(); number !== undefined; number = unanswered.shift()) {
      const [reply] = await link.send([['hget', claimsKey, number]]);
      if (reply?.kind !== 'ok') throw reply?.error ?? new Error('no answer');
      confirmed.push(number);
      if (typeof reply.value !== 'string') continue;
      const tags = (JSON.parse(reply.value) as string[]).filter((tag) => !held.has(tag));
      if (tags.length === 0) continue;
      const [values] = await link.send([['hmget', keys.unacked, ...tags]]);
      if (values?.kind !== 'ok') throw values?.error ?? new Error('no answer');
      (values.value as (string | null)[]).forEach((value, place) => {
        const unacked = value === null ? undefined : splitUnacked(value);
        const tag = tags[place] ?? '';
        if (unacked === undefined || acks.includes(tag)) return;
        const queue = unacked.routingKey === '' ? (queues[0] ?? '') : unacked.routingKey;
        take({ tag, queue, list: keys.queue(queue), raw: unacked.raw });
      });
    }
  };

  const renew = async (): Promise<void> => {
    const tags = [...held];
    for (let at = 0; at < tags.length; at += most.settlements) {
      const some = tags.slice(at, at + most.settlements);
      await link.send([['evalsha', scripts.renew.sha, 1, keys.unackedIndex, ...some]]);
    }
  };

  /** Puts back what other workers left behind, as every worker of the database does. */
  const sweep = async (): Promise<void> => {
    const [reply] = await link.send([
      [
        'evalsha',
        scripts.overdue.sha,
        3,
        keys.unacked,
        keys.unackedIndex,
        keys.unackedMutex,
        options.visibilityTimeoutSeconds,
        most.restored,
      ],
    ]);
    if (reply?.kind !== 'ok') return;
    const flat = reply.value as string[];
    for (let at = 0; at + 1 < flat.length; at += 2) {
      const [tag = '', value = ''] = flat.slice(at, at + 2);
      const unacked = splitUnacked(value);
      if (unacked === undefined || held.has(tag)) continue;
      for (const list of await listsOf(unacked.exchange, unacked.routingKey)) {
        moves.push({ tag, end: 'head', list, raw: markRedelivered(unacked.raw) });
      }
    }
    if (flat.length > 0) {
      log.info('restored messages whose worker was not heard of', { messages: flat.length / 2 });
      schedule();
    }
  };

  const listsOf = async (exchange: string, routingKey: string): Promise<string[]> => {
    if (exchange === '') return routingKey === '' ? [] : [keys.queue(routingKey)];
    const [reply] = await link.send([['smembers', keys.binding(exchange)]]);
    const members = reply?.kind === 'ok' ? (reply.value as string[]) : [];
    const bound = members.map((member) => member.split('\u0006\u0016')).filter(([key]) => key === routingKey);
    const found = bound.flatMap(([, , queue]) => (queue === undefined ? [] : [keys.queue(queue)]));
    return found.length > 0 ? found.slice(0, 1) : [keys.queue(routingKey === '' ? exchange : routingKey)];
  };

  const repeat = (ms: number, work: () => Promise<void>): void =>
    later(ms, () => {
      const isOpen = link.state().kind === 'open';
      void (isOpen ? work() : Promise.resolve())
        .catch((err: unknown) => log.debug('periodic work on the broker failed', { err }))
        .finally(() => {
          if (!isClosed) repeat(ms, work);
        });
    });

  const link: Link = createLink({
    ...options,
    onOpen: recover,
    onAnnounced: wake,
    onLost: schedule,
  });
  const poll = (): void =>
    later(pollMs, () => {
      const state = link.state();
      if (state.kind === 'open' && !state.announces) wake();
      else schedule();
      if (!isClosed) poll();
    });
  poll();
  repeat(Math.min(60, options.visibilityTimeoutSeconds / 4) * 1000, renew);
  repeat(Math.min(sweepMs, options.visibilityTimeoutSeconds * 1000), sweep);

  return {
    ack(tag) {
      held.delete(tag);
      acks.push(tag);
      schedule();
    },
    requeue({ tag, list, raw }, end) {
      held.delete(tag);
      moves.push({ tag, end, list, raw: markRedelivered(raw) });
      schedule();
    },
    bury({ tag, queue, raw }) {
      const list = `${keyPrefixOf(keys)}muster.malformed.${queue}`;
      held.delete(tag);
      moves.push({ tag, end: 'tail', list, raw });
      schedule();
      return list;
    },
    send(command) {
      outbox.push(command);
      schedule();
    },
    wake: schedule,
    addQueue(queue) {
      if (!queues.includes(queue)) queues.push(queue);
      wake();
    },
    cancelQueue(queue) {
      queues = queues.filter((each) => each !== queue);
    },
    queues: () => queues,
    pause(paused) {
      isPaused = paused;
      schedule();
    },
    held: () => held,
    state: () => link.state(),
    flushed: (signal) =>
      new Promise((resolve) => {
        idle.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
        schedule();
      }),
    async close() {
      isClosed = true;
      for (const timer of timers) timer.cancel();
      await link.close();
    },
  };
}

/** What stands before every key of the broker. */
function keyPrefixOf(keys: BrokerKeys): string {
  return keys.unacked.slice(0, -'unacked'.length);
}

/** A command that Redis could not take now (memory full, loading, a replica), and not one that is wrong. */
function isWorthRetrying(reply: Reply | undefined): boolean {
  return (
    reply?.kind === 'error' &&
    /^(OOM|LOADING|READONLY|MASTERDOWN|BUSY|NOSCRIPT|CLUSTERDOWN|NOREPLICAS|MISCONF)/.test(reply.error.message)
  );
}
