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
import { BrokerError } from '../../operator/broker/failures.ts';
import type { Timer } from '../../operator/runtime/clock.ts';
import { createRoster, type Seated } from '../../operator/runtime/roster.ts';
import {
  buildExchange,
  isWorthRetrying,
  prefixOf,
  readClaimed,
  servingOrder,
  type Call,
  type Claimed,
  type Move,
} from './exchange.ts';
import { createHoldings } from './holdings.ts';
import { createLink, type Link } from './link.ts';
import { recoverClaims } from './recover.ts';
import { markRedelivered } from './restored.ts';
import { loadScripts } from './script.ts';
import type { Consumer, ConsumerOptions } from './seams.ts';
import { createUpkeep } from './upkeep.ts';

export type { Consumer, ConsumerOptions } from './seams.ts';

/** The most that one call claims, settles, or keeps on its way. */
const most = { claims: 200, settlements: 1000, calls: 8 };
const pollMs = 1_000;
/** Lists are looked at this often although Redis announces changes: an announcement that got lost costs no more. */
const lookMs = 30_000;
const retryMs = { refused: 500, move: 5_000 };
const sweepMs = 60_000;

/** A call, and what goes before it in its round trip. */
interface Parcel {
  readonly call: Call;
  readonly commands: readonly Command[];
}
type Sent = Parcel & Seated;

/** Starts to consume. */
export function createConsumer(options: ConsumerOptions): Consumer {
  const { clock, log, keys } = options;
  const claimsKey = `${prefixOf(keys)}muster.claims.${options.consumerId}`;
  const holdings = createHoldings();
  let queues = [...options.queues];
  const acks: string[] = [];
  const moves: Move[] = [];
  let outbox: Command[] = [];
  /** Claims whose answer is here, to be forgotten by Redis. */
  const confirmed: (string | number)[] = [];
  const underWay = createRoster<Sent>();
  /** What came back without effect, to be sent again in the order in which it was sent. */
  let returned: Parcel[] = [];
  /** Calls whose answer never came: what they did is looked up over the next connection. */
  const unanswered = new Set<number>();
  let connection = 0;
  /** Moves that Redis refused, until they are tried again. */
  let postponed = 0;
  /** Messages that calls under way may bring. */
  let reserved = 0;
  let nextNumber = 1;
  let isWatched = false;
  let wakes = 0;
  let isPaused = false;
  let isClosed = false;
  let isScheduled = false;
  let notBeforeMs = -Infinity;
  let problem = '';
  let refusal = '';
  let lookedMs = clock.monotonicMs();
  const idle = new Set<() => void>();
  const timers = new Set<Timer>();

  const schedule = (): void => {
    if (isScheduled || isClosed) return;
    isScheduled = true;
    setImmediate(() => {
      // What it settles goes out with this flush, and asks for no other.
      try {
        options.beforeFlush?.();
      } finally {
        isScheduled = false;
      }
      flush();
      handOver();
    });
  };
  const wake = (): void => {
    wakes += 1;
    isWatched = false;
    schedule();
  };
  /**
   * Scripts read the hash of unacknowledged messages and the like too, and so Redis announces what every other worker does
   * with its messages. Only the queues' own lists are a reason to look.
   */
  const announced = (changed: readonly string[] | 'all'): void => {
    if (changed === 'all' || changed.some((key) => queues.some((queue) => keys.queueSteps(queue).includes(key))))
      wake();
  };
  const later = (ms: number, fn: () => void): void => {
    const timer = clock.setTimer(ms, () => {
      timers.delete(timer);
      fn();
    });
    timers.add(timer);
  };

  /**
   * Half of what is here and on its way is handed over in a turn. What ends at once is settled before the other half begins:
   * so Redis works while this process does, and neither waits for the other.
   */
  const handOver = (): void => {
    const half = Math.ceil((holdings.arrived() + reserved) / 2);
    for (const delivery of holdings.next(half)) options.onDelivery(delivery);
    if (holdings.arrived() > 0) schedule();
  };

  /** What came back goes before what was added since. */
  const resend = (): void => {
    for (const { call, commands } of returned.sort((one, other) => other.call.number - one.call.number)) {
      outbox = [...commands, ...outbox];
      acks.unshift(...call.acks);
      moves.unshift(...call.moves);
      confirmed.unshift(...call.confirmed);
    }
    returned = [];
  };

  const moveHeads = (): void => {
    if (holdings.heads() === 0 || reserved + holdings.arrived() > 0 || unanswered.size > 0) return;
    // Not in one call: there may be more than a call can have arguments.
    for (const move of holdings.orderedHeads()) moves.push(move);
  };

  let order: { readonly of: readonly string[]; readonly lists: Call['lists'] } | undefined;
  const lists = (): Call['lists'] => {
    if (order?.of !== queues) order = { of: queues, lists: servingOrder(keys, queues) };
    return order.lists;
  };

  const flush = (): void => {
    if (isClosed || link.state().kind !== 'open' || underWay.size >= most.calls) return;
    if (notBeforeMs > clock.monotonicMs()) return;
    if (returned.length > 0) resend();
    const takes = !isWatched && !isPaused && queues.length > 0 && holdings.heads() === 0;
    const free = takes ? options.credit() - reserved - holdings.arrived() : 0;
    const limit = Math.max(0, Math.min(most.claims, free));
    moveHeads();
    if (limit === 0 && acks.length + moves.length + outbox.length === 0) return settleIdle();
    const call: Call = {
      ...{ number: nextNumber++, connection, limit, queues: queues.length },
      // Not before all that was sent in its task: what an acknowledged task sent would be lost with this process.
      acks: moves.length > most.settlements ? [] : acks.splice(0, most.settlements),
      moves: moves.splice(0, most.settlements),
      confirmed: confirmed.splice(0, most.settlements),
      lists: lists(),
    };
    // All of them: a result may not come after the acknowledgement of its task.
    const commands = outbox;
    outbox = [];
    reserved += call.limit;
    const sent = { call, commands, seat: undefined };
    underWay.add(sent);
    void send(sent, wakes);
    if (acks.length + moves.length > 0) schedule();
  };

  const send = async (sent: Sent, wakesBefore: number): Promise<void> => {
    const { call, commands } = sent;
    let replies: readonly Reply[];
    try {
      replies = await link.send([...commands, buildExchange(keys, claimsKey, call)]);
    } catch (err) {
      // The connection ended before the answer: the script may have run.
      if (call.limit + call.moves.length > 0) unanswered.add(call.number);
      giveUp(sent);
      if (!(err instanceof BrokerError)) log.error('a call to the broker failed', { err });
      schedule();
      return;
    }
    const refusedCommands = commands.filter((_, place) => isWorthRetrying(replies[place]));
    for (const reply of replies.slice(0, commands.length)) {
      if (reply.kind === 'error' && !isWorthRetrying(reply)) {
        log.error('the broker does not take a result or an event', { why: reply.error.message });
      }
    }
    const last = replies[commands.length];
    if (last?.kind === 'ok') {
      underWay.remove(sent);
      reserved -= call.limit;
      outbox = [...refusedCommands, ...outbox];
      refusal = '';
      settle(call, readClaimed(call, last), wakesBefore);
    } else {
      giveUp(sent, refusedCommands);
      refused(last?.error.message ?? 'no answer');
    }
    schedule();
  };

  const giveUp = (sent: Sent, commands = sent.commands): void => {
    underWay.remove(sent);
    reserved -= sent.call.limit;
    returned.push({ call: sent.call, commands });
  };

  const settle = (call: Call, claimed: Claimed, wakesBefore: number): void => {
    if (claimed.deliveries.length + call.moves.length > 0) confirmed.push(call.number);
    for (const move of call.moves) if (move.end === 'once' && !claimed.failed.includes(move)) confirmed.push(move.tag);
    if (claimed.failed.length > 0) {
      postponed += 1;
      later(retryMs.move, () => {
        postponed -= 1;
        moves.push(...claimed.failed);
        schedule();
      });
    }
    if (claimed.problem !== problem) {
      problem = claimed.problem;
      if (problem !== '') log.error('a queue cannot be read or written', { why: problem });
    }
    if (claimed.isWatched && wakes === wakesBefore) isWatched = true;
    for (const delivery of claimed.deliveries) {
      rotate(delivery.queue);
      holdings.add(delivery);
    }
    handOver();
  };

  /** Redis answers, and does not want to: it is loading, a replica, out of memory or disk, or forgot the scripts. */
  const refused = (why: string): void => {
    if (why.includes('NOSCRIPT')) {
      link.send(loadScripts).then(schedule, () => undefined);
      notBeforeMs = clock.monotonicMs() + 10;
      later(10, wake);
      return;
    }
    if (why !== refusal) log.warn('the broker refuses, trying again', { why });
    refusal = why;
    // A replica now: the name of the broker may lead to the new master.
    if (/READONLY|MASTERDOWN|STALE/.test(why)) link.renew();
    notBeforeMs = clock.monotonicMs() + retryMs.refused;
    later(retryMs.refused, wake);
  };

  /** The queue served last comes last, as kombu's round robin does. */
  const rotate = (served: string): void => {
    if (queues.length < 2 || !queues.includes(served)) return;
    queues = [...queues.filter((queue) => queue !== served), served];
  };

  const settleIdle = (): void => {
    if (underWay.size + postponed + holdings.arrived() + holdings.heads() > 0) return;
    for (const resolve of idle) resolve();
    idle.clear();
  };

  const recover = async (): Promise<void> => {
    connection += 1;
    const { deliveries, carriedOut } = await recoverClaims({ link, keys, claimsKey, connection, unanswered });
    // Another worker may have claimed meanwhile what went back: moved again, it would be taken away from that one, and run
    // twice. (Those that are done once are sent again: Redis may have refused one of them.)
    returned = returned.map((parcel) => (carriedOut.has(parcel.call.number) ? withoutMoves(parcel) : parcel));
    refusal = '';
    confirmed.push(...unanswered);
    unanswered.clear();
    const held = holdings.tags();
    for (const delivery of deliveries) if (!held.has(delivery.tag)) holdings.add(delivery);
    handOver();
    await upkeep.renew();
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
    onAnnounced: announced,
    onLost: schedule,
  });
  const upkeep = createUpkeep({
    ...{ link, keys, claimsKey, log, holdings, visibilityTimeoutSeconds: options.visibilityTimeoutSeconds },
    async move(some) {
      const call = { number: 0, connection, limit: 0, acks: [], moves: some, confirmed: [], queues: 0, lists: [] };
      const value = await link.evaluate(buildExchange(keys, claimsKey, call));
      return readClaimed(call, { kind: 'ok', value }).failed.length;
    },
  });
  const poll = (): void =>
    later(pollMs, () => {
      const state = link.state();
      const isTime = clock.monotonicMs() - lookedMs > lookMs;
      if (isTime) lookedMs = clock.monotonicMs();
      if (isTime || (state.kind === 'open' && !state.announces)) wake();
      else schedule();
      if (!isClosed) poll();
    });
  poll();
  repeat(Math.min(60, options.visibilityTimeoutSeconds / 4) * 1000, () => upkeep.renew());
  repeat(Math.min(sweepMs, options.visibilityTimeoutSeconds * 1000), () => upkeep.sweep());

  return {
    ack(delivery) {
      holdings.forget(delivery);
      acks.push(delivery.tag);
      schedule();
    },
    requeue(delivery, end) {
      const { tag, list, raw } = delivery;
      const move: Move = { tag, end, list, raw: markRedelivered(raw) };
      if (end === 'tail') moves.push(move);
      else holdings.giveBack(delivery, move);
      holdings.forget(delivery);
      schedule();
    },
    replace(delivery, list, raw, isAcked) {
      const { tag } = delivery;
      holdings.forget(delivery);
      moves.push(isAcked ? { tag: `replaced.${tag}`, end: 'once', list, raw } : { tag, end: 'tail', list, raw });
      schedule();
    },
    release: (delivery) => holdings.forget(delivery),
    push(tag, list, raw) {
      // Not by the tag alone: a retry of this very message, which stands for that tag, would count as sent already.
      moves.push({ tag: `sent.${tag}`, end: 'once', list, raw });
      schedule();
    },
    bury(delivery) {
      const { tag, queue, raw } = delivery;
      const list = `${prefixOf(keys)}muster.malformed.${queue}`;
      holdings.forget(delivery);
      moves.push({ tag, end: 'bury', list, raw });
      schedule();
      return list;
    },
    send(command) {
      outbox.push(command);
      schedule();
    },
    wake: schedule,
    addQueue(queue) {
      if (!queues.includes(queue)) queues = [...queues, queue];
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
    state() {
      const state = link.state();
      return state.kind === 'open' && refusal !== '' ? { kind: 'refused', why: refusal } : state;
    },
    flushed: (signal) =>
      new Promise((resolve) => {
        const waiting = [acks, moves, outbox, returned].reduce((sum, { length }) => sum + length, 0);
        // Without a connection nothing is flushed: who has nothing to say does not wait for one.
        if (waiting + holdings.heads() + holdings.arrived() + underWay.size + postponed === 0) return resolve();
        idle.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
        schedule();
      }),
    async close() {
      isClosed = true;
      for (const timer of timers) timer.cancel();
      // Whatever is not settled keeps its place in the hash; what was claimed by whom is of use to nobody any more.
      if (underWay.size + unanswered.size === 0) await link.send([['del', claimsKey]]).catch(() => undefined);
      await link.close();
    },
  };
}

function withoutMoves({ call, commands }: Parcel): Parcel {
  return { call: { ...call, moves: call.moves.filter(({ end }) => end === 'once') }, commands };
}
