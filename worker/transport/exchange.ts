/**
 * The one call of a consumer: what goes into it and what comes back. Kept apart from the loop that decides when to call.
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import { scripts } from './script.ts';

/** A message that was claimed. It stays in the hash of unacknowledged messages until it is settled. */
export interface Delivery {
  /** Its delivery tag: the name under which it is settled. */
  readonly tag: string;
  /** The list that it was taken from, which is where it goes back to. */
  readonly list: string;
  readonly queue: string;
  /** The message as it lay in the list. */
  readonly raw: string;
}

/** A message that leaves the hash for a list, unless somebody else moved it meanwhile. */
export interface Move {
  readonly tag: string;
  /** Which end of the list: the tail is served last, the head next. */
  readonly end: 'head' | 'tail';
  readonly list: string;
  readonly raw: string;
}

/** A call that is sent, until its answer is here. */
export interface Call {
  readonly number: number;
  readonly limit: number;
  readonly acks: readonly string[];
  readonly moves: readonly Move[];
  readonly confirmed: readonly number[];
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
}

/** The command of a call. */
export function buildExchange(keys: BrokerKeys, claimsKey: string, call: Call): Command {
  const names = [keys.unacked, keys.unackedIndex, claimsKey, ...call.lists.map(([list]) => list)];
  return [
    'evalsha',
    scripts.exchange.sha,
    names.length,
    ...names,
    ...[call.limit, call.number, call.acks.length, call.moves.length, call.confirmed.length],
    ...call.acks,
    ...call.moves.flatMap(({ tag, end, list, raw }) => [tag, end === 'head' ? 'RPUSH' : 'LPUSH', list, raw]),
    ...call.confirmed,
  ];
}

/** Reads the answer of a call. */
export function readClaimed(call: Call, reply: Extract<Reply, { kind: 'ok' }>): Claimed {
  const [watched, problem, ...flat] = reply.value as (string | number)[];
  const deliveries: Delivery[] = [];
  for (let at = 0; at + 2 < flat.length; at += 3) {
    const [list, queue] = call.lists[Number(flat[at + 1])] ?? ['', ''];
    deliveries.push({ tag: String(flat[at]), list, queue, raw: String(flat[at + 2]) });
  }
  return { deliveries, isWatched: watched === 1, problem: String(problem ?? '') };
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
