/** Messages that are wrong, large or strange, and a result backend that is gone: nothing is lost, and the worker lives. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { buildMessage, type OutgoingTask } from '../../../worker/protocol/message.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('bad input to the Node worker', function () {
  this.timeout(60_000);
  let redis: RedisServer;
  let client: Redis;
  let gate: Gate;
  let worker: TaskWorker;

  before(async () => {
    redis = await startRedis();
    client = redis.client();
    gate = await makeGate();
    worker = await startTaskWorker(redis.url, gate.dir, { concurrency: 2, ack: 'late' });
  });
  after(async () => {
    await worker.kill();
    await gate.remove();
    await redis.stop();
  });

  const send = async (task: string, args: readonly unknown[], more: Partial<OutgoingTask> = {}): Promise<string> => {
    const id = randomUUID();
    await client.lpush('work', buildMessage({ task, args, id, tag: randomUUID(), routingKey: 'work', ...more }).raw);
    return id;
  };
  const meta = async (id: string): Promise<Record<string, unknown>> =>
    JSON.parse((await client.get(`celery-task-meta-${id}`)) ?? '{}') as Record<string, unknown>;
  const result = (id: string): Promise<Record<string, unknown>> =>
    eventually(async () => {
      const stored = await meta(id);
      if (stored['status'] === undefined) throw new Error(`no result; ${worker.output()}`);
      return stored;
    });
  const works = async (): Promise<void> => {
    expect(await result(await send('node.add', [20, 22]))).to.include({ status: 'SUCCESS', result: 42 });
    await eventually(async () => {
      expect(await client.hlen('unacked')).to.equal(0);
      expect(await client.zcard('unacked_index')).to.equal(0);
    });
  };

  const envelope = JSON.parse(
    buildMessage({ task: 'node.add', args: [1, 2], id: 'an-id', tag: 'a-tag', routingKey: 'work' }).raw,
  ) as Record<string, unknown>;
  const malformed: Readonly<Record<string, string>> = {
    'no JSON': '{"body": "half a mess',
    'a zero byte, and no JSON': 'ÿ\u0000þ',
    'a JSON text': '"a text"',
    'no JSON, although its end looks well': JSON.stringify(envelope).replace('"headers":', '"headers"'),
    'a JSON number': '7',
    'an empty object': '{}',
    'JSON that is nested too deep': '['.repeat(5_000) + ']'.repeat(5_000),
    'a body that is no base64': JSON.stringify({ ...envelope, body: '%%%' }),
    'no headers': JSON.stringify({ ...envelope, headers: undefined }),
    'headers that are a list': JSON.stringify({ ...envelope, headers: [1] }),
    'no properties': JSON.stringify({ ...envelope, properties: undefined }),
    'a delivery tag that is a number': JSON.stringify({ ...envelope, properties: { delivery_tag: 1 }, body: 'e30=' }),
  };
  for (const [name, raw] of Object.entries(malformed)) {
    it(`a message with ${name} is moved out of the way, as it was`, async () => {
      await client.del('muster.malformed.work');
      await client.lpush('work', raw);
      await eventually(async () => expect(await client.llen('muster.malformed.work')).to.equal(1));
      expect(await client.lindex('muster.malformed.work', 0)).to.equal(raw);
      await works();
    });
  }

  for (const [name, raw] of Object.entries({
    'no UTF-8': Buffer.from([0xff, 0xfe, 0x00, 0x22, 0x80]),
    'no UTF-8 in a JSON object': Buffer.concat([
      Buffer.from('{"body": "'),
      Buffer.from([0xe9]),
      Buffer.from('", "b": [1]}'),
    ]),
  })) {
    it(`a message that is ${name} is moved out of the way, byte for byte`, async () => {
      await client.del('muster.malformed.work');
      await client.lpush('work', raw);
      await eventually(async () => expect(await client.llen('muster.malformed.work')).to.equal(1));
      expect(await client.lindexBuffer('muster.malformed.work', 0)).to.deep.equal(raw);
      await works();
    });
  }

  it('a message of 50 MB', async () => {
    const id = await send('node.echo', ['x'.repeat(37_000_000)], { ignoreResult: false, argsRepr: '…' });
    await eventually(async () => expect(await meta(id)).to.include({ status: 'SUCCESS' }), { timeoutMs: 40_000 });
    await client.del(`celery-task-meta-${id}`);
    await works();
  });

  it('two messages with the same delivery tag', async () => {
    const ids = [await send('node.echo', [1], { tag: 'same' }), await send('node.echo', [2], { tag: 'same' })];
    for (const [place, id] of ids.entries()) expect(await result(id)).to.include({ result: place + 1 });
    await works();
  });

  it('a task that is not registered fails with NotRegistered', async () => {
    const { status, result: error } = await result(await send('node.nowhere', []));
    expect(status).to.equal('FAILURE');
    expect(error).to.include({ exc_type: 'NotRegistered', exc_module: 'celery.exceptions' });
    await works();
  });

  it('arguments that do not fit fail the task, with the words of parseArgs', async () => {
    const { status, result: error } = await result(await send('node.pair', [1, 'two']));
    expect(status).to.equal('FAILURE');
    expect(error).to.deep.include({ exc_type: 'TypeError', exc_message: ['two numbers, please'] });
    expect(await result(await send('node.pair', [6, 7]))).to.include({ result: 42 });
  });

  it('an ETA in the year 9999 waits, and does not come early', async () => {
    const tag = randomUUID();
    const id = await send('node.add', [1, 1], { eta: Date.parse('9999-12-31T23:59:59Z'), tag });
    await eventually(async () => expect(await client.hexists('unacked', tag)).to.equal(1));
    expect(await result(await send('node.add', [1, 1]))).to.include({ result: 2 });
    expect(await meta(id)).to.deep.equal({});
    expect(await client.hlen('unacked')).to.equal(1);
    // Out of the way of the tests below: a worker that was told of it takes it for acknowledged.
    await client.multi().hdel('unacked', tag).zrem('unacked_index', tag).exec();
  });

  it('an ETA in the past runs at once; what has expired is revoked', async () => {
    expect(await result(await send('node.add', [1, 1], { eta: Date.now() - 3_600_000 }))).to.include({ result: 2 });
    expect(await result(await send('node.add', [1, 1], { expires: Date.now() - 1_000 }))).to.include({
      status: 'REVOKED',
    });
    await works();
  });

  for (const when of ['at once', 'meanwhile']) {
    it(`a task that leaves a promise behind that is rejected ${when} has failed with it`, async () => {
      const [found, beside] = await Promise.all([
        send('node.careless', [when]).then(result),
        send('node.slowToLook', []).then(result),
      ]);
      expect(found).to.include({ status: 'FAILURE' });
      expect(found['result']).to.deep.include({ exc_type: 'Error', exc_message: ['nobody looks'] });
      expect(found['traceback']).to.contain('nobody looks');
      // It waits for its promise after all, and so did not leave it behind.
      expect(beside).to.include({ status: 'SUCCESS', result: 'somebody looks' });
      await works();
    });
  }

  it('a promise that is rejected after the end of its task is told, and ends nothing', async () => {
    const id = await send('node.careless', ['late']);
    expect(await result(id)).to.include({ status: 'SUCCESS' });
    await eventually(() => {
      const line = worker
        .output()
        .split('\n')
        .find((text) => text.includes('that has ended left a promise'));
      expect(line).to.contain(id).and.contain('node.careless').and.contain('nobody looks');
    });
    await works();
  });
});

describe('a result backend that is gone', function () {
  this.timeout(60_000);
  it('keeps late tasks until their results are stored, takes no more, and goes on when it is back', async () => {
    const broker = await startRedis();
    const backend = await startRedis();
    const client = broker.client();
    const gate = await makeGate();
    const worker = await startTaskWorker(broker.url, gate.dir, {
      ...{ concurrency: 2, ack: 'late', prefetch: 'fair' },
      backend: `${backend.url}/1`,
    });
    try {
      const send = (id: string): Promise<number> =>
        client.lpush(
          'work',
          buildMessage({ task: 'node.echo', args: [id], id, tag: `tag-${id}`, routingKey: 'work' }).raw,
        );
      const stored = (id: string): Promise<string | null> => backend.client(1).get(`celery-task-meta-${id}`);
      await send('first');
      await eventually(async () => expect(await stored('first')).to.contain('SUCCESS'));
      expect(await client.exists('celery-task-meta-first')).to.equal(0);
      await eventually(async () => expect(await client.hlen('unacked')).to.equal(0));

      await backend.kill();
      const ids = Array.from({ length: 10 }, (_, number) => `while-gone-${number}`);
      for (const id of ids) await send(id);
      await eventually(async () => expect(await client.hlen('unacked')).to.equal(2));
      await new Promise((resolve) => setTimeout(resolve, 700));
      expect({ unacked: await client.hlen('unacked'), queue: await client.llen('work') }).to.deep.equal({
        unacked: 2,
        queue: 8,
      });

      await backend.start();
      for (const id of ids) {
        await eventually(async () => expect(await stored(id)).to.contain('SUCCESS'), { timeoutMs: 20_000 });
      }
      await eventually(async () => expect(await client.hlen('unacked')).to.equal(0));
    } finally {
      await worker.kill();
      await gate.remove();
      await backend.stop();
      await broker.stop();
    }
  });
});
