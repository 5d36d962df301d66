/** Finds what became of calls whose answer was lost with the connection. */
import type { BrokerKeys } from '../protocol/keys.ts';
import { newDelivery, queueOfList, type Delivery } from './exchange.ts';
import type { Link } from './link.ts';
import { splitUnacked } from './restored.ts';
import { scripts } from './script.ts';

/** What a recovery needs. */
export interface RecoverOptions {
  readonly link: Pick<Link, 'evaluate' | 'send'>;
  readonly keys: BrokerKeys;
  readonly claimsKey: string;
  /** Number of the connection that begins: calls of earlier ones do nothing from here on. */
  readonly connection: number;
  /** Numbers of the calls without an answer. */
  readonly unanswered: ReadonlySet<number>;
}

/** What became of these calls. */
export interface Recovered {
  /** Messages that they claimed and nobody was told of. */
  readonly deliveries: readonly Delivery[];
  /** Numbers of those that claimed or moved something. */
  readonly carriedOut: ReadonlySet<number>;
}

/** Looks it up. Rejects when Redis cannot be asked. */
export async function recoverClaims(options: RecoverOptions): Promise<Recovered> {
  const { link, keys, claimsKey, connection, unanswered } = options;
  const fields = (await link.evaluate(['evalsha', scripts.fence.sha, 1, claimsKey, connection])) as string[];
  const lists = new Map<string, string>();
  const carriedOut = new Set<number>();
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const number = Number(fields[at]);
    if (!unanswered.has(number)) continue;
    carriedOut.add(number);
    const claimed = JSON.parse(fields[at + 1] ?? '[]') as string[];
    for (let each = 0; each + 1 < claimed.length; each += 2) lists.set(claimed[each] ?? '', claimed[each + 1] ?? '');
  }
  if (lists.size === 0) return { deliveries: [], carriedOut };
  const tags = [...lists.keys()];
  const [values] = await link.send([['hmget', keys.unacked, ...tags]]);
  if (values?.kind !== 'ok') throw values?.error ?? new Error('no answer');
  const deliveries = (values.value as (string | null)[]).flatMap((value, place) => {
    // What is gone was restored by another worker meanwhile: the connection was away for longer than the timeout.
    const unacked = value === null ? undefined : splitUnacked(value);
    const tag = tags[place] ?? '';
    const list = lists.get(tag) ?? '';
    return unacked === undefined ? [] : [newDelivery(tag, list, queueOfList(keys, list), unacked.raw)];
  });
  return { deliveries, carriedOut };
}
