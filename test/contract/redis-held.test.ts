/** Counting what workers hold: the bytes of real kombu, in real Redis, by script and by scan. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { systemClock } from '../../operator/runtime/clock.ts';
import { openConnection, type Command, type Connection } from '../../operator/broker/connection.ts';
import { createHeldCounter, heldLimits, type HeldLimits, type HeldReading } from '../../operator/broker/held.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';
import { endpointOf, reading, startSampler, type TestSampler } from '../support/redisSampler.ts';
import { bindingSets, unackedEntries, unackedEntry } from '../unit/broker/kombuBytes.ts';

/** Drives a counter, as the sampler does. */
async function count(
  connection: Connection,
  server: RedisServer,
  limits: Partial<HeldLimits> = {},
  onSend: (commands: readonly Command[]) => void = () => undefined,
): Promise<HeldReading> {
  const counter = createHeldCounter(endpointOf({ url: server.url }), { ...heldLimits, ...limits });
  counter.begin();
  for (;;) {
    const commands = counter.commands();
    onSend(commands);
    const held = counter.take(await connection.send(commands));
    if (held !== undefined) return held;
  }
}

describe('counting held messages', () => {
  let server: RedisServer;
  let client: Redis;
  const samplers: TestSampler[] = [];
  const connections: Connection[] = [];
  const connect = async (user?: string): Promise<Connection> => {
    const url = user === undefined ? server.url : server.url.replace('://', `://${user}:pw@`);
    const connection = await openConnection({
      endpoint: endpointOf({ url }),
      clock: systemClock,
      name: 'test',
      timeoutMs: 5000,
      signal: new AbortController().signal,
      selectsDatabase: true,
      onSend: () => undefined,
      onLost: () => undefined,
    });
    connections.push(connection);
    return connection;
  };

  before(async () => {
    server = await startRedis({
      users: [
        'scripts on >pw ~* &* +@all',
        'noscripts on >pw ~* &* +@all -@scripting',
        'nounacked on >pw ~celery* &* +@all',
        'nobindings on >pw ~unacked &* +@all',
      ],
    });
    client = server.client();
  });
  after(() => server.stop());
  beforeEach(() => client.flushall());
  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.close();
    await Promise.all(samplers.splice(0).map((each) => each.close()));
  });

  for (const user of ['scripts', 'noscripts']) {
    describe(user === 'scripts' ? 'by script' : 'by scanning, where scripts are not permitted', () => {
      it('finds the queue of every message that kombu wrote', async () => {
        await client.hset('unacked', Object.fromEntries(unackedEntries));
        for (const [exchange, members] of Object.entries(bindingSets)) {
          await client.sadd(`_kombu.binding.${exchange}`, ...members);
        }
        const held = await count(await connect(user), server);
        if (held.kind !== 'ok') throw new Error(held.why);
        expect(Object.fromEntries(held.byQueue)).to.deep.equal({
          celery: 2,
          'weiß "ü\\': 1,
          audit: 1,
          mail: 1,
          'orders-slow': 1,
        });
      });

      it('counts nothing where nothing is', async () => {
        expect(await count(await connect(user), server)).to.deep.equal({ kind: 'ok', byQueue: new Map() });
      });

      it('counts a large hash in bounded chunks, each message once', async () => {
        const fields: string[] = [];
        for (let i = 0; i < 1500; i += 1) fields.push(`tag-${i}`, unackedEntry('', `queue-${i % 7}`));
        await client.hset('unacked', ...fields);
        let trips = 0;
        const held = await count(await connect(user), server, { chunkEntries: 200 }, () => (trips += 1));
        if (held.kind !== 'ok') throw new Error(held.why);
        expect([...held.byQueue.values()].reduce((a, b) => a + b)).to.equal(1500);
        expect(held.byQueue.get('queue-0')).to.equal(215);
        expect(trips).to.be.within(5, 30);
      });

      it('says that it does not know when there are too many', async () => {
        await client.hset(
          'unacked',
          'a',
          unackedEntry('', 'q'),
          'b',
          unackedEntry('', 'q'),
          'c',
          unackedEntry('', 'q'),
        );
        const held = await count(await connect(user), server, { maxEntries: 2, maxScannedEntries: 2 });
        expect(held).to.deep.equal({
          kind: 'unknown',
          why: 'unacked has 3 unacknowledged messages and at most 2 are counted; lower the prefetch of the workers',
        });
      });

      it('says that it does not know when an entry is not kombu’s', async () => {
        await client.hset('unacked', 'a', unackedEntry('', 'q'), 'b', 'something else');
        const held = await count(await connect(user), server);
        expect(held.kind === 'unknown' && held.why).to.match(/1 entries that kombu did not write.*delete them/);
      });

      it('says that it does not know when the key is no hash', async () => {
        await client.set('unacked', 'x');
        const held = await count(await connect(user), server);
        expect(held.kind === 'unknown' && held.why).to.match(/unacked is not a hash/);
      });
    });
  }

  it('counts by script what it counts by scanning, for any names', async () => {
    const [byScript, byScan] = [await connect('scripts'), await connect('noscripts')];
    const name = fc.string({ maxLength: 30, unit: 'binary' });
    await fc.assert(
      fc.asyncProperty(fc.array(name, { minLength: 1, maxLength: 8 }), async (names) => {
        await client.del('unacked');
        const fields = names.flatMap((each, i) => [`t${i}`, unackedEntry('', each, i)]);
        await client.hset('unacked', ...fields);
        const [one, other] = await Promise.all([count(byScript, server), count(byScan, server)]);
        const want = new Map<string, number>();
        for (const each of names) want.set(each, (want.get(each) ?? 0) + 1);
        const sorted = (held: HeldReading): unknown => held.kind === 'ok' && [...held.byQueue].sort();
        expect(sorted(one)).to.deep.equal([...want].sort());
        expect(sorted(other)).to.deep.equal([...want].sort());
      }),
      { numRuns: 25 },
    );
  });

  it('does not know where a message belongs whose bindings may not be read', async () => {
    await client.hset('unacked', 'a', unackedEntry('orders', 'slow'));
    const held = await count(await connect('nobindings'), server);
    expect(held.kind === 'unknown' && held.why).to.match(
      /ACL does not let the user read _kombu\.binding\.orders; allow/,
    );
  });

  it('does not know what is held where it may not look', async () => {
    const held = await count(await connect('nounacked'), server);
    expect(held.kind === 'unknown' && held.why).to.match(/ACL does not let the user read unacked; allow ~unacked/);
  });

  it('follows messages from their queue into a worker and out of it, told by Redis', async () => {
    const sampler = startSampler({ url: server.url, queues: ['celery', 'other'], fullReadMs: 600_000 });
    samplers.push(sampler);
    await sampler.until('celery', reading(0));
    await client.lpush('celery', 'm1', 'm2');
    await sampler.until('celery', reading(2));
    await client.multi().rpop('celery').hset('unacked', 't1', unackedEntry('', 'celery')).exec();
    await sampler.until('celery', reading(1, 1));
    await client.hset('unacked', 't2', unackedEntry('', 'other'));
    await sampler.until('other', reading(0, 1));
    await client.hdel('unacked', 't1', 't2');
    await sampler.until('celery', reading(1, 0));
    await sampler.until('other', reading(0, 0));
  });

  it('follows a binding that is made later', async () => {
    await client.sadd('_kombu.binding.orders', 'fast\x06\x16\x06\x16orders-fast');
    await client.hset('unacked', 't1', unackedEntry('orders', 'slow'), 't2', unackedEntry('orders', 'fast'));
    const sampler = startSampler({ url: server.url, queues: ['orders-slow', 'orders-fast'], fullReadMs: 600_000 });
    samplers.push(sampler);
    await sampler.until('orders-fast', reading(0, 1));
    expect(sampler.value('orders-slow')).to.deep.equal(reading(0, 0));
    await client.sadd('_kombu.binding.orders', 'slow\x06\x16\x06\x16orders-slow');
    await sampler.until('orders-slow', reading(0, 1));
  });

  it('keeps what is ready known when what is held is not', async () => {
    await client.lpush('celery', 'a');
    await client.hset('unacked', 'b', 'something else');
    const sampler = startSampler({ url: server.url });
    samplers.push(sampler);
    await sampler.until('celery', 'readyOnly');
    expect(sampler.value('celery')).to.deep.include({ ready: 1 });
    expect((await sampler.untilState('ok')).kind).to.equal('ok');
    await client.hdel('unacked', 'b');
    await sampler.until('celery', reading(1, 0));
  });

  it('does not read message bodies over the network', async () => {
    const size = 200_000;
    for (let i = 0; i < 20; i += 1) await client.hset('unacked', `t${i}`, unackedEntry('', 'celery', size));
    const before = Number(/total_net_output_bytes:(\d+)/.exec(await client.info('stats'))?.[1]);
    const sampler = startSampler({ url: server.url });
    samplers.push(sampler);
    await sampler.until('celery', reading(0, 20));
    const after = Number(/total_net_output_bytes:(\d+)/.exec(await client.info('stats'))?.[1]);
    expect(after - before).to.be.lessThan(size);
  });
});
