/** Redis that answers with errors, or not at all, while the Node worker consumes. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { numberedMessage, sendNumbered, tally } from '../../support/numbered.ts';
import { startRedisProxy, type RedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('a Redis that answers with errors, or not', function () {
  this.timeout(90_000);
  let redis: RedisServer;
  let client: Redis;
  let proxy: RedisProxy;
  let gate: Gate;
  let worker: TaskWorker;

  beforeEach(async () => {
    redis = await startRedis();
    client = redis.client();
    proxy = await startRedisProxy(redis.port);
    gate = await makeGate();
  });
  afterEach(async () => {
    await worker.kill();
    await proxy.close();
    await redis.stop();
    await gate.remove();
  });

  const begin = async (flags: Record<string, string | number> = {}): Promise<void> => {
    worker = await startTaskWorker(`redis://127.0.0.1:${proxy.port}`, gate.dir, {
      concurrency: 4,
      ack: 'late',
      ...flags,
    });
  };
  const send = async (task: string, args: readonly unknown[]): Promise<string> => {
    const id = randomUUID();
    await client.lpush('work', buildMessage({ task, args, id, tag: randomUUID(), routingKey: 'work' }).raw);
    return id;
  };
  const stored = (id: string): Promise<string | null> => client.get(`celery-task-meta-${id}`);
  const allRanOnce = (count: number, timeoutMs = 20_000): Promise<unknown> =>
    eventually(
      async () => {
        const { begun, ended, twice } = await tally(gate);
        expect({ begun: begun.size, ended: ended.size, twice }).to.deep.equal({
          begun: count,
          ended: count,
          twice: [],
        });
        expect(await client.hlen('unacked')).to.equal(0);
        expect(await client.zcard('unacked_index')).to.equal(0);
      },
      { timeoutMs, intervalMs: 50 },
    );

  it('scripts that Redis forgot while a task ran: the result is stored, the message acknowledged and kept visible', async () => {
    await begin({ 'visibility-timeout-seconds': 2 });
    await send('node.gated', ['long']);
    await eventually(async () => (await gate.started()).length === 1);
    const score = async (): Promise<number> =>
      Number((await client.zrange('unacked_index', '0', '0', 'WITHSCORES'))[1]);
    const before = await score();
    await client.script('FLUSH');
    await eventually(async () => expect(await score()).to.be.greaterThan(before + 2), { timeoutMs: 15_000 });
    await client.script('FLUSH');
    await gate.open();
    await eventually(async () => expect(await client.hlen('unacked')).to.equal(0));
    expect(await gate.started()).to.deep.equal(['long']);
    const id = await send('node.add', [1, 1]);
    await eventually(async () => expect(await stored(id)).to.contain('SUCCESS'));
  });

  it('full memory: tasks are taken, run and settled all the same, and retried ones are not lost', async () => {
    await begin();
    await sendNumbered(client, 200, 50);
    const id = await send('node.flaky', [1]);
    await client.config('SET', 'maxmemory', '1');
    await eventually(async () => expect((await tally(gate)).begun.size).to.equal(200), { timeoutMs: 20_000 });
    await eventually(async () => expect(await stored(id)).to.contain('SUCCESS'), { timeoutMs: 60_000 });
    await eventually(async () => expect(await client.hlen('unacked')).to.equal(0));
  });

  it('a Redis that cannot write to its disk, and one that becomes a replica: the worker waits and goes on', async () => {
    await begin();
    await sendNumbered(client, 100, 20);
    await client.config('SET', 'min-replicas-to-write', '1');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await client.config('SET', 'min-replicas-to-write', '0');
    await eventually(async () => expect((await tally(gate)).begun.size).to.be.greaterThan(20));
    await client.replicaof('127.0.0.1', 1);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await client.replicaof('NO', 'ONE');
    await allRanOnce(100);
  });

  it('a list of the wrong type stops its queue only, is named, and is served again when it is put right', async () => {
    await begin({ queues: 'broken,work' });
    await client.set('broken', 'text');
    await sendNumbered(client, 20, 1);
    await allRanOnce(20);
    await eventually(() => worker.output().includes('WRONGTYPE') || false);
    await client.del('broken');
    await client.lpush('broken', numberedMessage(20, 1));
    await allRanOnce(21);
  });

  it('a hash of unacknowledged messages of the wrong type: nothing is taken until it is put right', async () => {
    await client.set('unacked', 'text');
    await begin();
    await sendNumbered(client, 20, 1);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await client.llen('work')).to.equal(20);
    await client.del('unacked');
    await allRanOnce(20);
  });

  it('a message that cannot go back to its list stays unacknowledged', async () => {
    await begin({ prefetch: 4, 'drain-seconds': 1 });
    for (const name of ['0', '1', '2', '3', '4']) await send('node.gated', [name]);
    await eventually(async () => expect(await client.hlen('unacked')).to.equal(5));
    await client.set('work', 'text');
    worker.signal('SIGTERM');
    expect(await worker.ended()).to.equal(0);
    expect(await client.hlen('unacked')).to.equal(5);
    expect(await client.zcard('unacked_index')).to.equal(5);
  });

  it('answers that are lost on their way: what they brought is found again over the next connection', async () => {
    await begin({ prefetch: 'unlimited' });
    for (let round = 0; round < 4; round += 1) {
      proxy.delay(100);
      const numbers = Array.from({ length: 50 }, (_, place) => numberedMessage(round * 50 + place, 1));
      await client.lpush('work', ...numbers);
      // Redis has run the call; its answer is in the proxy.
      await eventually(async () => (await client.llen('work')) === 0, { intervalMs: 2 });
      proxy.resetAll();
      proxy.delay(0);
      await eventually(() => client.llen('work').then((length) => length === 0));
    }
    await allRanOnce(200);
  });

  it('connections that are silent, of a worker that is idle or busy: it makes new ones', async () => {
    await begin();
    await sendNumbered(client, 50, 1);
    await allRanOnce(50);
    proxy.blackhole(true);
    proxy.blackhole(false);
    await client.lpush('work', ...Array.from({ length: 50 }, (_, place) => numberedMessage(50 + place, 1)));
    await allRanOnce(100, 40_000);
    proxy.blackhole(true);
    await client.lpush('work', ...Array.from({ length: 50 }, (_, place) => numberedMessage(100 + place, 1)));
    await new Promise((resolve) => setTimeout(resolve, 500));
    proxy.blackhole(false);
    await allRanOnce(150, 40_000);
  });

  it('forgets what it claimed: the list of claims stays small, and goes away', async () => {
    await begin({ prefetch: 4 });
    await sendNumbered(client, 500, 1);
    await allRanOnce(500);
    const [key = ''] = await client.keys('muster.claims.*');
    expect(await client.hlen(key)).to.be.at.most(10);
    expect(await client.ttl(key)).to.be.within(1, 86_400);
    worker.signal('SIGTERM');
    expect(await worker.ended()).to.equal(0);
    expect(await client.keys('*')).to.deep.equal([]);
  });
});
