/**
 * The one call of a consumer: what goes into it and what comes back. Kept apart from the loop that decides when to call.
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { Seated } from '../../operator/runtime/roster.ts';
import { kombuSeparator, type BrokerKeys } from '../protocol/keys.ts';
import { scripts } from './script.ts';

/** A message that was claimed. It stays in the hash of unacknowledged messages until it is settled. */
export interface Delivery extends Seated {
  /** Its delivery tag: the name under which it is settled. */
  readonly tag: string;
  /** The list that it was taken from, which is where it goes back to. */
  readonly list: string;
  readonly queue: string;
  /** The message as it lay in the list. */
  readonly raw: string;
  /** Counts all that the consumer claimed, in their order; -1 until it holds it. */
  number: number;
}

/** What was claimed, before anybody holds it. */
export function newDelivery(tag: string, list: string, queue: string, raw: string): Delivery {
  return { tag, list, queue, raw, number: -1, seat: undefined };
}

/** A message that leaves the hash for a list, unless somebody else moved it meanwhile. */
export interface Move {
  readonly tag: string;
  /**
   * Which end of the list: the tail is served last, the head next. `once`: to the tail, although the hash does not hold
   * the message any more; for what stands for an acknowledged one. `bury`: to the tail, byte for byte as it came.
   */
  readonly end: 'head' | 'tail' | 'once' | 'bury';
  readonly list: string;
  readonly raw: string;
  /** Move it only if it was not delivered or renewed since it had this score. */
  readonly score?: string;
}

/** A call that is sent, until its answer is here. */
export interface Call {
  readonly number: number;
  /** Calls of a connection before the last one do nothing. */
  readonly connection: number;
  readonly limit: number;
  readonly acks: readonly string[];
  readonly moves: readonly Move[];
  /** Numbers of calls, and tags of moves with `once`, whose answer is here. */
  readonly confirmed: readonly (string | number)[];
  readonly queues: number;
  /** The lists asked, in serving order, and the queue of each. */
  readonly lists: readonly (readonly [list: string, queue: string])[];
}

/** What a call brought. */
export interface Claimed {
  readonly deliveries: readonly Delivery[];
  /** The lists were found empty, and Redis announces when that changes. */
  readonly isWatched: boolean;
  /** What is wrong with one of the lists; empty when nothing is. */
  readonly problem: string;
  /** Moves that Redis refused: the messages are where they were. */
  readonly failed: readonly Move[];
}

const pushes = { head: 'RPUSH', tail: 'LPUSH', once: 'ONCE', bury: 'BURY' } as const;

/** The command of a call. */
export function buildExchange(keys: BrokerKeys, claimsKey: string, call: Call): Command {
  const names = [keys.unacked, keys.unackedIndex, claimsKey, ...call.lists.map(([list]) => list)];
  return [
    'evalsha',
    scripts.exchange.sha,
    names.length,
    ...names,
    ...[call.limit, call.number, call.acks.length, call.moves.length, call.confirmed.length],
    ...[call.connection, call.queues],
    ...call.confirmed,
    ...call.acks,
    ...call.moves.flatMap(({ tag, end, list, raw, score = '' }) => [tag, pushes[end], list, raw, score]),
  ];
}

/** Reads the answer of a call. */
export function readClaimed(call: Call, reply: Extract<Reply, { kind: 'ok' }>): Claimed {
  const [watched, problem, failures = 0, ...flat] = reply.value as (string | number)[];
  const failed = flat.slice(0, Number(failures)).flatMap((place) => call.moves[Number(place)] ?? []);
  const deliveries: Delivery[] = [];
  for (let at = failed.length; at + 2 < flat.length; at += 3) {
    const [list, queue] = call.lists[Number(flat[at + 1])] ?? ['', ''];
    deliveries.push(newDelivery(String(flat[at]), list, queue, String(flat[at + 2])));
  }
  return { deliveries, isWatched: watched === 1, problem: String(problem ?? ''), failed };
}

/** The queue that a list belongs to. */
export function queueOfList(keys: BrokerKeys, list: string): string {
  return list.slice(prefixOf(keys).length).replace(new RegExp(`${kombuSeparator}\\d+$`), '');
}

/**
 * The order in which lists are served: every queue's most urgent step before any queue's next one, and among queues the
 * one served last comes last. Source: kombu/transport/redis.py (`_brpop_start`, round robin).
 */
export function servingOrder(keys: BrokerKeys, queues: readonly string[]): Call['lists'] {
  const steps = queues.map((queue) => keys.queueSteps(queue));
  return keys.prioritySteps.flatMap((_, step) =>
    queues.map((queue, place): [string, string] => [steps[place]?.[step] ?? queue, queue]),
  );
}

/** What stands before every key of the broker. */
export function prefixOf(keys: BrokerKeys): string {
  return keys.unacked.slice(0, -'unacked'.length);
}

/** A command that Redis could not take now (memory full, loading, a replica), and not one that is wrong. */
export function isWorthRetrying(reply: Reply | undefined): boolean {
  return (
    reply?.kind === 'error' &&
    // Before Redis 7 what a command in a script was refused with is quoted: `ERR Error running script …: -READONLY …`.
    /^(ERR Error running script.*-)?(OOM|LOADING|READONLY|MASTERDOWN|BUSY|NOSCRIPT|CLUSTERDOWN|NOREPLICAS|MISCONF|TRYAGAIN)/.test(
      reply.error.message,
    )
  );
}
