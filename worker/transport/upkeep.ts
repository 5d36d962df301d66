/**
 * What a consumer does now and then: it keeps visible what it holds, and puts back what other workers left behind, as
 * every worker of a database does. Source: kombu/transport/redis.py (`restore_visible`).
 */
import { resolveQueues } from '../../operator/broker/bindings.ts';
import type { Command } from '../../operator/broker/connection.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import { decodeJson } from '../protocol/kombuJson.ts';
import { parseBindingMember, type BrokerKeys } from '../protocol/keys.ts';
import { readPriority } from '../protocol/priority.ts';
import { isRecord } from '../protocol/signature.ts';
import type { Move } from './exchange.ts';
import type { Holdings } from './holdings.ts';
import type { Link } from './link.ts';
import { markRedelivered, splitUnacked, type Unacked } from './restored.ts';
import { scripts } from './script.ts';

/** What the upkeep needs. */
export interface UpkeepOptions {
  readonly link: Pick<Link, 'evaluate' | 'send'>;
  readonly keys: BrokerKeys;
  readonly log: Logger;
  readonly visibilityTimeoutSeconds: number;
  /** Claims of the consumer. */
  readonly claimsKey: string;
  readonly holdings: Pick<Holdings, 'tags'>;
  /** Moves messages now; gives how many could not be moved. */
  readonly move: (moves: readonly Move[]) => Promise<number>;
}

/** The work; each rejects when Redis cannot be asked. */
export interface Upkeep {
  renew(): Promise<void>;
  sweep(): Promise<void>;
}

/** How long the claims of a worker are kept that was not heard of. */
const claimsSeconds = 86_400;
/** The most messages of one round trip. */
const most = { renewed: 1000, restored: 100 };

/** Builds the upkeep of a consumer. */
export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { link, keys, log, holdings } = options;

  const listOf = async ({ exchange, routingKey, raw }: Unacked): Promise<string | undefined> => {
    const priority = priorityOf(raw);
    if (exchange === '') return routingKey === '' ? undefined : keys.queue(routingKey, priority);
    const [reply] = await link.send([['smembers', keys.binding(exchange)]]);
    if (reply?.kind !== 'ok') throw reply?.error ?? new Error('no answer');
    const bindings = (reply.value as string[]).flatMap((member) => parseBindingMember(member) ?? []);
    const [queue, ...others] = resolveQueues({ exchange, routingKey }, bindings);
    // Copies in several queues look the same: which one this is, nobody knows.
    if (others.length > 0) return undefined;
    return keys.queue(queue === undefined || queue === '' ? exchange : queue, priority);
  };

  /** How many rows of the index were looked at, then tag, score and value of each message that they lead to. */
  const overdue = async (skipped: number, isFirst: boolean): Promise<[number, ...string[]]> => {
    const command: Command = [
      'evalsha',
      scripts.overdue.sha,
      3,
      ...[keys.unacked, keys.unackedIndex, keys.unackedMutex],
      ...[options.visibilityTimeoutSeconds, most.restored, skipped, isFirst ? 0 : 1],
    ];
    return (await link.evaluate(command)) as [number, ...string[]];
  };

  return {
    async renew() {
      // A worker that dies leaves nothing behind for ever.
      await link.evaluate(['expire', options.claimsKey, claimsSeconds]);
      const tags = [...holdings.tags()];
      for (let at = 0; at < tags.length; at += most.renewed) {
        const some = tags.slice(at, at + most.renewed);
        await link.evaluate(['evalsha', scripts.renew.sha, 1, keys.unackedIndex, ...some]);
      }
    },
    async sweep() {
      let restored = 0;
      let skipped = 0;
      let unreadable = 0;
      for (let isFirst = true; ; isFirst = false) {
        const [rows, ...flat] = await overdue(skipped, isFirst);
        const held = holdings.tags();
        const moves: Move[] = [];
        for (let at = 0; at + 2 < flat.length; at += 3) {
          const [tag = '', score = '', value = ''] = flat.slice(at, at + 3);
          const unacked = held.has(tag) ? undefined : splitUnacked(value);
          const list = unacked === undefined ? undefined : await listOf(unacked);
          if (unacked === undefined || list === undefined) {
            skipped += 1;
            if (!held.has(tag)) unreadable += 1;
            continue;
          }
          moves.push({ tag, end: 'head', list, raw: markRedelivered(unacked.raw), score });
        }
        // What cannot be moved stays in the index: the next look must begin behind it.
        const failed = moves.length > 0 ? await options.move(moves) : 0;
        restored += moves.length - failed;
        skipped += failed;
        if (rows < most.restored) break;
      }
      if (restored > 0) log.info('restored messages whose worker was not heard of', { messages: restored });
      if (unreadable > 0) log.warn('messages that no worker can restore', { hash: keys.unacked, messages: unreadable });
    },
  };
}

function priorityOf(raw: string): number {
  const decoded = decodeJson(raw);
  const properties = decoded.kind === 'ok' && isRecord(decoded.value) ? decoded.value['properties'] : undefined;
  return isRecord(properties) ? readPriority(properties['priority']) : 0;
}
