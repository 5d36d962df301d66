/** The scripts of the consumer against a model, in a real Redis: no message is ever in no key, or in two places. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { brokerKeys } from '../../../worker/protocol/keys.ts';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { priorityStep } from '../../../worker/protocol/priority.ts';
import {
  buildExchange,
  readClaimed,
  servingOrder,
  type Call,
  type Delivery,
  type Move,
} from '../../../worker/transport/exchange.ts';
import { loadScripts, scripts } from '../../../worker/transport/script.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const keys = brokerKeys();
const queues = ['a', 'b', 'c'];

type Step =
  | { kind: 'push'; queue: number; priority: number }
  | { kind: 'call'; by: number; limit: number; acks: number[]; heads: number[]; tails: number[]; isTwice: boolean }
  | { kind: 'sweep'; by: number; most: number }
  | { kind: 'reconnect'; by: number };

const picks = fc.array(fc.nat(20), { maxLength: 3 });
const by = fc.nat(1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), queue: fc.nat(2), priority: fc.nat(9) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('call' as const),
      ...{ by, limit: fc.nat(6), acks: picks, heads: picks, tails: picks, isTwice: fc.boolean() },
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('sweep' as const), by, most: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reconnect' as const), by }) },
);

interface Party {
  readonly claimsKey: string;
  connection: number;
  calls: number;
  order: string[];
  held: Delivery[];
}

/** What Redis should hold: tags in lists (the next to be served last), and tags that are not acknowledged. */
class Model {
  readonly lists = new Map<string, string[]>();
  readonly unacked = new Set<string>();

  settle(call: Call): void {
    for (const tag of call.acks) this.unacked.delete(tag);
    for (const { tag, end, list } of call.moves) {
      if (!this.unacked.delete(tag)) continue;
      if (end === 'head') this.list(list).push(tag);
      else this.list(list).unshift(tag);
    }
  }

  /** kombu: steps before queues, and the queue that was served goes to the end. Changes `order`. */
  claim(limit: number, order: string[]): string[] {
    const claimed: string[] = [];
    for (const [place] of keys.prioritySteps.entries()) {
      for (let turn = 0; turn < order.length && claimed.length < limit;) {
        const queue = order[turn] ?? '';
        const tag = this.list(keys.queueSteps(queue)[place] ?? '').pop();
        if (tag === undefined) {
          turn += 1;
          continue;
        }
        claimed.push(tag);
        order.push(...order.splice(turn, 1));
        turn = 0;
      }
    }
    for (const tag of claimed) this.unacked.add(tag);
    return claimed;
  }

  list(name: string): string[] {
    const found = this.lists.get(name) ?? [];
    this.lists.set(name, found);
    return found;
  }
}

describe('the scripts of the consumer', function () {
  this.timeout(120_000);
  let redis: RedisServer;
  let client: Redis;

  before(async () => {
    redis = await startRedis();
    client = redis.client();
  });
  after(() => redis.stop());

  const run = async ([name, ...args]: readonly (string | number)[]): Promise<unknown> =>
    client.call(String(name), ...args.map(String));

  it('leave every message in one place, and claim in the order of kombu', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        await client.flushall();
        for (const command of loadScripts) await run(command);
        const model = new Model();
        const parties = [0, 1].map((number): Party => ({
          ...{ claimsKey: `muster.claims.${number}`, connection: 1, calls: 0, order: [...queues], held: [] },
        }));
        let sent = 0;
        const exchange = async (party: Party, more: Pick<Call, 'limit' | 'acks' | 'moves'>): Promise<void> => {
          party.calls += 1;
          const call: Call = {
            ...{ number: party.calls, connection: party.connection, confirmed: [party.calls - 1], queues: 3 },
            ...{ lists: servingOrder(keys, party.order), ...more },
          };
          const claimed = readClaimed(call, {
            kind: 'ok',
            value: await run(buildExchange(keys, party.claimsKey, call)),
          });
          model.settle(call);
          const expected = model.claim(call.limit, party.order);
          expect(claimed.deliveries.map(({ tag }) => tag)).to.deep.equal(expected);
          expect(claimed.isWatched).to.equal(call.limit > 0 && expected.length < call.limit);
          expect(claimed.problem).to.equal('');
          party.held.push(...claimed.deliveries);
        };

        for (const each of steps) {
          if (each.kind === 'push') {
            const [tag, routingKey] = [`tag-${sent++}`, queues[each.queue] ?? ''];
            const { priority } = each;
            await client.lpush(
              keys.queue(routingKey, priority),
              buildMessage({ task: 't', id: tag, tag, routingKey, priority }).raw,
            );
            const place = keys.prioritySteps.indexOf(priorityStep(priority));
            model.list(keys.queueSteps(routingKey)[place] ?? '').unshift(tag);
            continue;
          }
          const party = parties[each.by] as Party;
          if (each.kind === 'call') {
            const take = (chosen: readonly number[]): Delivery[] =>
              chosen.flatMap((pick) => party.held.splice(pick % Math.max(1, party.held.length), 1));
            const acks = take(each.acks).map(({ tag }) => tag);
            const move = (end: Move['end'], chosen: readonly number[]): Move[] =>
              take(chosen).map(({ tag, list, raw }) => ({ tag, end, list, raw }));
            const moves = [...move('head', each.heads), ...move('tail', each.tails)];
            await exchange(party, { limit: each.limit, acks, moves });
            // As after a lost answer: what was settled is settled again.
            if (each.isTwice) await exchange(party, { limit: 0, acks, moves });
          } else if (each.kind === 'sweep') {
            const names = [keys.unacked, keys.unackedIndex, keys.unackedMutex];
            const [, ...found] = (await run([
              'evalsha',
              scripts.overdue.sha,
              3,
              ...names,
              -1,
              each.most,
              0,
              1,
            ])) as string[];
            expect(found.length / 3).to.equal(Math.min(each.most, model.unacked.size));
            const moves: Move[] = [];
            for (let at = 0; at < found.length; at += 3) {
              const [tag = '', score = '', value = ''] = found.slice(at, at + 3);
              const [message, , key] = JSON.parse(value) as [{ properties: { priority: number } }, string, string];
              const list = keys.queue(key, message.properties.priority);
              moves.push({ tag, end: 'head', list, raw: JSON.stringify(message), score });
            }
            await exchange(party, { limit: 0, acks: [], moves });
            // A sweep that comes second finds other scores, and moves nothing.
            await exchange(party, { limit: 0, acks: [], moves });
            await exchange(parties[1 - each.by] as Party, { limit: 2, acks: [], moves: [] });
            const stale = moves.map((one): Move => ({ ...one, score: '1' }));
            const before = await client.hlen(keys.unacked);
            const call = { number: 0, connection: party.connection, limit: 0, acks: [], confirmed: [], queues: 0 };
            await run(buildExchange(keys, party.claimsKey, { ...call, moves: stale, lists: [] }));
            expect(await client.hlen(keys.unacked)).to.equal(before);
          } else {
            const call = { number: 99, limit: 5, acks: party.held.map(({ tag }) => tag), moves: [], confirmed: [] };
            const late = { ...call, connection: party.connection, queues: 3, lists: servingOrder(keys, party.order) };
            party.connection += 1;
            await run(['evalsha', scripts.fence.sha, 1, party.claimsKey, party.connection]);
            const refused = await run(buildExchange(keys, party.claimsKey, late)).catch((err: unknown) => String(err));
            expect(refused).to.contain('STALE');
          }

          const unacked = await client.hkeys(keys.unacked);
          expect(unacked.sort()).to.deep.equal([...model.unacked].sort());
          expect((await client.zrange(keys.unackedIndex, '0', '-1')).sort()).to.deep.equal(unacked);
          for (const [name, tags] of model.lists) {
            const raws = await client.lrange(name, 0, -1);
            const found = raws.map(
              (raw) => (JSON.parse(raw) as { properties: { delivery_tag: string } }).properties.delivery_tag,
            );
            expect(found, name).to.deep.equal(tags);
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});
