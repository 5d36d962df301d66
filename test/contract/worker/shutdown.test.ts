/** What a signal does: what does not run goes back to the head in order, what runs ends, and the exit code is 0. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { startRedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('the end of a Node worker', function () {
  this.timeout(60_000);
  let redis: RedisServer;
  let client: Redis;
  let gate: Gate;
  let worker: TaskWorker;

  before(async () => {
    redis = await startRedis();
    client = redis.client();
  });
  beforeEach(async () => {
    gate = await makeGate();
  });
  afterEach(async () => {
    await worker.kill();
    await gate.remove();
    await client.flushall();
  });
  after(() => redis.stop());

  const send = (name: string, more: { eta?: number; priority?: number } = {}): Promise<number> => {
    const { priority = 0 } = more;
    const ids = { id: `id-${name}`, tag: randomUUID() };
    const message = buildMessage({ task: 'node.gated', args: [name], ...ids, routingKey: 'work', ...more });
    return client.lpush(priority >= 3 ? 'work\u0006\u00163' : 'work', message.raw);
  };
  /** Names in a queue, the next to be served first. */
  const queued = async (list = 'work'): Promise<string[]> =>
    (await client.lrange(list, 0, -1))
      .map((raw) => (JSON.parse(raw) as { headers: { id: string } }).headers.id.replace('id-', ''))
      .reverse();
  const begin = async (flags: Record<string, string | number>, broker = redis.url): Promise<void> => {
    worker = await startTaskWorker(broker, gate.dir, { concurrency: 2, ...flags });
    await eventually(async () => expect(await gate.started()).to.deep.equal(['0', '1']));
  };
  const names = Array.from({ length: 12 }, (_, number) => String(number));

  for (const ack of ['late', 'early'] as const) {
    it(`SIGTERM, ${ack}: hands back at once in order, finishes what runs, exits 0`, async () => {
      for (const name of names) await send(name);
      await send('later', { eta: Date.now() + 3_600_000 });
      await send('low', { priority: 4 });
      await begin({ ack, prefetch: 'unlimited' });
      await eventually(async () => expect(await client.hlen('unacked')).to.equal(ack === 'late' ? 14 : 12));
      const began = performance.now();
      worker.signal('SIGTERM');
      await eventually(async () => expect(await client.llen('work')).to.equal(11));
      expect(performance.now() - began).to.be.lessThan(1_000);
      expect(await queued()).to.deep.equal([...names.slice(2), 'later']);
      expect(await queued('work\u0006\u00163')).to.deep.equal(['low']);
      expect(await client.hlen('unacked')).to.equal(ack === 'late' ? 2 : 0);
      // What arrives now stays in the queue.
      await send('new');
      await gate.open();
      expect(await worker.ended()).to.equal(0);
      expect(await gate.started()).to.deep.equal(['0', '1']);
      expect((await gate.ended()).sort()).to.deep.equal(['0', '1']);
      expect(await queued()).to.deep.equal([...names.slice(2), 'later', 'new']);
      expect(await client.hlen('unacked')).to.equal(0);
      expect(await client.zcard('unacked_index')).to.equal(0);
      expect(await client.get('celery-task-meta-id-0')).to.contain('SUCCESS');
      expect(await client.keys('muster.*')).to.deep.equal([]);
    });
  }

  it('puts a mark on what it hands back: it was delivered before', async () => {
    for (const name of names.slice(0, 3)) await send(name);
    await begin({ ack: 'late', prefetch: 4 });
    worker.signal('SIGTERM');
    const raw = await eventually(async () => (await client.lindex('work', 0)) ?? false);
    const message = JSON.parse(String(raw)) as {
      headers: Record<string, unknown>;
      properties: { delivery_info: Record<string, unknown> };
    };
    expect(message.headers['redelivered']).to.equal(true);
    expect(message.properties.delivery_info['redelivered']).to.equal(true);
  });

  it('hands back in order what was on its way when the signal came', async () => {
    const proxy = await startRedisProxy(redis.port);
    try {
      for (const name of names.slice(0, 2)) await send(name);
      await begin({ ack: 'late', prefetch: 'unlimited' }, `redis://127.0.0.1:${proxy.port}`);
      proxy.delay(300);
      for (const name of names.slice(2)) await send(name);
      await eventually(async () => expect(await client.hlen('unacked')).to.equal(12));
      worker.signal('SIGTERM');
      await eventually(async () => expect(await queued()).to.deep.equal(names.slice(2)));
      await gate.open();
      expect(await worker.ended()).to.equal(0);
      expect(await client.hlen('unacked')).to.equal(0);
    } finally {
      await proxy.close();
    }
  });

  it('hands late tasks back when the deadline comes, and exits 0', async () => {
    for (const name of names.slice(0, 4)) await send(name);
    await begin({ ack: 'late', prefetch: 4, 'drain-seconds': 1 });
    worker.signal('SIGTERM');
    expect(await worker.ended()).to.equal(0);
    expect((await queued()).slice(0, 2).sort()).to.deep.equal(['0', '1']);
    expect((await queued()).slice(2)).to.deep.equal(['2', '3']);
    expect(await client.hlen('unacked')).to.equal(0);
  });

  it('names the early tasks that the deadline cost', async () => {
    for (const name of names.slice(0, 2)) await send(name);
    await begin({ ack: 'early', 'drain-seconds': 1 });
    worker.signal('SIGTERM');
    expect(await worker.ended()).to.equal(0);
    for (const name of ['0', '1']) {
      expect(worker.output()).to.match(new RegExp(`a task is lost[^\\n]*id-${name}|id-${name}[^\\n]*a task is lost`));
    }
  });

  it('a second signal ends it at once; what ran late stays in the hash for others', async () => {
    for (const name of names.slice(0, 4)) await send(name);
    await begin({ ack: 'late', prefetch: 4 });
    worker.signal('SIGTERM');
    await eventually(async () => expect(await queued()).to.deep.equal(['2', '3']));
    worker.signal('SIGTERM');
    expect(await worker.ended()).to.equal('SIGTERM');
    expect(await client.hlen('unacked')).to.equal(2);
  });

  it('ends although Redis is gone', async () => {
    for (const name of names.slice(0, 2)) await send(name);
    await begin({ ack: 'late' });
    await redis.kill();
    try {
      worker.signal('SIGTERM');
      await gate.open();
      expect(await worker.ended()).to.equal(0);
    } finally {
      await redis.start();
    }
  });
});
