/** A Node and a Python worker on one queue: neither starves the other, nothing is lost, nothing runs twice. */
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { makePool } from '../../support/builders.ts';
import {
  askedVersions,
  ensureCelery,
  makeGate,
  startWorker,
  type CeleryWorker,
  type Gate,
} from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { numberedMessage, tally } from '../../support/numbered.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const count = 400;
/** Much longer than what either worker needs around a task. */
const taskMs = 40;

for (const version of askedVersions) {
  describe(`a Node worker and one of Celery ${version} on one queue`, function () {
    this.timeout(120_000);
    let redis: RedisServer;
    let client: Redis;
    let gate: Gate;
    let python: CeleryWorker;
    let node: TaskWorker | undefined;

    beforeEach(async function () {
      this.timeout(180_000);
      const celery = await ensureCelery(version);
      redis = await startRedis();
      client = redis.client();
      gate = await makeGate();
      const pool = makePool('py').broker({ url: redis.url }).app('numbered', 'prefork').queue('work').concurrency(2);
      python = await startWorker({ celery, pool: pool.ack('Late').prefetch('Multiplier', 1).obj(), gate });
    });
    afterEach(async () => {
      await node?.kill();
      node = undefined;
      await python.stop();
      await redis.stop();
      await gate.remove();
    });

    for (const prefetch of ['1', 'fair']) {
      it(`share it fairly (prefetch of the Node worker: ${prefetch})`, async () => {
        node = await startTaskWorker(redis.url, gate.dir, { concurrency: 2, prefetch, ack: 'late', backend: 'none' });
        const numbers = Array.from({ length: count }, (_, number) => number);
        await client.lpush('work', ...numbers.map((number) => numberedMessage(number, taskMs)));
        await eventually(async () => expect((await tally(gate)).ended.size).to.equal(count), {
          timeoutMs: 60_000,
          intervalMs: 100,
        });
        await eventually(async () => {
          expect(await client.hlen('unacked')).to.equal(0);
          expect(await client.zcard('unacked_index')).to.equal(0);
          expect(await client.llen('work')).to.equal(0);
        });
        const { begun, twice, byProcess } = await tally(gate);
        expect(begun.size).to.equal(count);
        expect(twice).to.deep.equal([]);
        const byNode = byProcess.get(String(node.pid)) ?? 0;
        expect(byNode, 'by the Node worker').to.be.within(count / 3, (2 * count) / 3);
        // Two processes of the other one.
        expect(byProcess.size).to.equal(3);
      });
    }
  });
}
