/** What a claim keeps of a message, in a real Redis: however it is written, its worker and others can restore it. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { brokerKeys } from '../../../worker/protocol/keys.ts';
import { buildExchange, readClaimed, type Call } from '../../../worker/transport/exchange.ts';
import { loadScripts } from '../../../worker/transport/script.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const keys = brokerKeys();
const claimsKey = 'muster.claims.one';

type Fields = Record<string, unknown>;

/** As Python's json module writes it: with spaces. */
const spaced = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, each]) => `${JSON.stringify(name)}: ${spaced(each)}`)
    .join(', ')}}`;
};

const name = fc.oneof(
  fc.constantFrom('', 'shop', 'a"b', 'a\\', 'é', '}', '", "delivery_tag": "other"}}', 'x'.repeat(600)),
  fc.string(),
);
const deliveryInfo = fc.oneof(
  { weight: 5, arbitrary: fc.record({ exchange: name, routing_key: name }) },
  fc.record({ exchange: name, routing_key: name, priority: fc.nat(9) }),
  fc.record({ routing_key: name, exchange: name }),
  fc.constantFrom<unknown>({}, null, [], { exchange: 1, routing_key: null }),
);
const tag = fc.oneof(
  { weight: 5, arbitrary: fc.uuid() },
  fc.constantFrom<unknown>('', 'tag', 7, null, undefined, 't"}}'),
);
const properties = fc
  .tuple(deliveryInfo, tag, name, fc.constantFrom<Fields>({}, { priority: 3 }, { more: { delivery_tag: 'nested' } }))
  .chain(([delivery_info, delivery_tag, reply_to, more]) =>
    fc
      .constantFrom<Fields>(
        { reply_to, delivery_info, ...more, delivery_tag },
        { reply_to, ...more, delivery_info, delivery_tag },
        { delivery_tag, ...more, delivery_info, reply_to },
        { more: { delivery_info, delivery_tag } },
        { reply_to, delivery_tag },
      )
      .map((fields) => fields),
  );
const message = fc
  .tuple(properties, properties, name)
  .chain(([inner, other, body]) =>
    fc.constantFrom<Fields>(
      { body, headers: { id: 'an-id', ...other }, properties: inner },
      { body, properties: inner, headers: { id: 'an-id', ...other } },
      { body, properties: inner, headers: { properties: other } },
      { body: JSON.stringify({ properties: other }), properties: inner },
      { body },
    ),
  );
const raw = fc.tuple(message, fc.boolean()).map(([fields, isSpaced]) => {
  const plain = JSON.stringify(fields);
  return isSpaced ? spaced(JSON.parse(plain)) : plain;
});

describe('a claim', function () {
  this.timeout(120_000);
  let redis: RedisServer;
  let client: Redis;

  before(async () => {
    redis = await startRedis();
    client = redis.client();
    for (const [command, ...args] of loadScripts) await client.call(command, ...args.map(String));
  });
  after(() => redis.stop());

  const claim = async (text: string): Promise<{ tag: string; kept: string }> => {
    await client.del(keys.unacked, keys.unackedIndex, claimsKey, 'work');
    await client.lpush('work', text);
    const call: Call = {
      ...{ number: 1, connection: 1, limit: 1, acks: [], moves: [], confirmed: [], queues: 1 },
      lists: keys.queueSteps('work').map((list) => [list, 'work']),
    };
    const [command, ...args] = buildExchange(keys, claimsKey, call);
    const { deliveries } = readClaimed(call, {
      kind: 'ok',
      value: await client.call(command, ...args.map(String)),
    });
    expect(deliveries.map((delivery) => delivery.raw)).to.deep.equal([text]);
    const rows = Object.entries(await client.hgetall(keys.unacked));
    expect(await client.zrange(keys.unackedIndex, '0', '-1')).to.deep.equal(rows.map(([field]) => field));
    const [[field, kept] = ['', '']] = rows;
    expect(rows.length).to.equal(1);
    expect(deliveries[0]?.tag).to.equal(field);
    return { tag: field, kept };
  };

  it('keeps the tag of a message, and where it goes, however it is written', async () => {
    await fc.assert(
      fc.asyncProperty(raw, async (text) => {
        const written = JSON.parse(text) as { properties?: { delivery_tag?: unknown; delivery_info?: Fields | null } };
        const { tag: field, kept } = await claim(text);
        const { delivery_info: info, delivery_tag: own } = written.properties ?? {};
        const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
        const [exchange, key] = [textOf(info?.['exchange']), textOf(info?.['routing_key'])];
        expect(JSON.parse(kept)).to.deep.equal([written, exchange, exchange === '' && key === '' ? 'work' : key]);
        if (typeof own === 'string' && own !== '') expect(field).to.equal(own);
        else expect(field).to.match(/^muster-/);
      }),
      { numRuns: 2_000 },
    );
  });

  it('keeps what is no JSON as a text', async () => {
    for (const text of [
      '',
      '{',
      '{"body": ',
      'null}}',
      '{"properties":{"delivery_info":{"exchange":"","routing_key":"work"}}',
    ]) {
      const { kept } = await claim(text);
      expect(JSON.parse(kept)).to.deep.equal([text, '', 'work']);
    }
  });
});
