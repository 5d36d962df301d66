/**
 * How many messages the worker holds, by prefetch policy and acknowledgement. The numbers are those of Celery with the
 * same settings, found by running it: default multiplier 4, `--prefetch-multiplier 1`, `--disable-prefetch`, and no limit.
 */
import { expect } from 'chai';
import { ensureCelery, makeGate, runPython, type Celery, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { producerCode, startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const table = [
  { prefetch: 'fair', ack: 'early', queue: 28, unacked: 0 },
  { prefetch: 'fair', ack: 'late', queue: 28, unacked: 2 },
  { prefetch: '1', ack: 'early', queue: 26, unacked: 2 },
  { prefetch: '1', ack: 'late', queue: 28, unacked: 2 },
  { prefetch: '4', ack: 'early', queue: 20, unacked: 8 },
  { prefetch: '4', ack: 'late', queue: 22, unacked: 8 },
  { prefetch: 'unlimited', ack: 'early', queue: 0, unacked: 28 },
  { prefetch: 'unlimited', ack: 'late', queue: 0, unacked: 30 },
] as const;

describe('messages that the Node worker holds (30 long tasks, 2 slots)', function () {
  this.timeout(60_000);
  let celery: Celery;
  let redis: RedisServer;
  let gate: Gate;
  let worker: TaskWorker | undefined;

  before(async function () {
    this.timeout(180_000);
    celery = await ensureCelery('5.6.3');
    redis = await startRedis();
  });
  beforeEach(async () => {
    gate = await makeGate();
  });
  afterEach(async () => {
    if (worker !== undefined) await worker.kill();
    worker = undefined;
    await gate.remove();
    await redis.command('FLUSHALL');
  });
  after(() => redis.stop());

  const counts = async (): Promise<{ queue: unknown; unacked: unknown; index: unknown; running: number }> => ({
    queue: await redis.command('LLEN', 'work'),
    unacked: await redis.command('HLEN', 'unacked'),
    index: await redis.command('ZCARD', 'unacked_index'),
    running: (await gate.started()).length,
  });

  for (const { prefetch, ack, queue, unacked } of table) {
    it(`${prefetch}, ${ack}: ${queue} in the queue, ${unacked} not acknowledged, 2 running`, async () => {
      const send = `for n in range(30): send("node.gated", (str(n),))`;
      await runPython(celery, `${producerCode(redis.url)}\n${send}`);
      worker = await startTaskWorker(redis.url, gate.dir, { concurrency: 2, prefetch, ack });
      const expected = { queue, unacked, index: unacked, running: 2 };
      await eventually(async () => expect(await counts()).to.deep.equal(expected), { timeoutMs: 15_000 });
      // It does not creep on.
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await counts()).to.deep.equal(expected);
      expect(await gate.started()).to.deep.equal(['0', '1']);
      await gate.open();
      await eventually(async () => {
        expect(await gate.ended()).to.have.length(30);
        expect(await counts()).to.deep.equal({ queue: 0, unacked: 0, index: 0, running: 30 });
      });
      const expectedOrder = Array.from({ length: 30 }, (_, number) => String(number));
      expect(await gate.started()).to.deep.equal(expectedOrder);
    });
  }

  it('holds tasks that wait for their time on top', async () => {
    const send = `for n in range(5): send("node.gated", ("eta",), countdown=3600)\nfor n in range(10): send("node.gated", (str(n),))`;
    await runPython(celery, `${producerCode(redis.url)}\n${send}`);
    worker = await startTaskWorker(redis.url, gate.dir, { concurrency: 2, prefetch: 1, ack: 'late' });
    await eventually(async () => expect(await counts()).to.deep.equal({ queue: 8, unacked: 7, index: 7, running: 2 }));
  });
});
