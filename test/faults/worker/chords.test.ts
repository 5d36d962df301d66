/** Chords whose workers are killed and whose connections are cut: every body runs, with the values of all parts. */
import { expect } from 'chai';
import { chord, createClient, sig, type Client } from '../../../worker/index.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { nodeApp } from '../../support/nodeWorker.ts';
import { startRedisProxy, type RedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const chords = 600;
const parts = [1, 2, 3, 4, 5];

for (const where of ['the same Redis', 'another database'] as const) {
  describe(`chords of Node workers that are killed, results in ${where}`, function () {
    this.timeout(150_000);
    let redis: RedisServer;
    let proxy: RedisProxy;
    let gate: Gate;
    let client: Client;
    const workers: TaskWorker[] = [];
    const database = where === 'the same Redis' ? 0 : 3;
    const start = (): Promise<TaskWorker> =>
      startTaskWorker(`redis://127.0.0.1:${proxy.port}/0`, gate.dir, {
        ...{ tasks: nodeApp('canvas.ts'), 'default-queue': 'work', concurrency: 16, prefetch: 4, ack: 'late' },
        backend: `redis://127.0.0.1:${proxy.port}/${database}`,
        'visibility-timeout-seconds': 5,
      });

    before(async () => {
      redis = await startRedis({ config: { appendonly: 'yes', appendfsync: 'always' } });
      proxy = await startRedisProxy(redis.port);
      gate = await makeGate();
      client = createClient({ broker: redis.url, backend: `${redis.url}/${database}`, defaultQueue: 'work' });
    });
    after(async () => {
      await client.close();
      await Promise.all(workers.map((worker) => worker.kill()));
      await proxy.close();
      await redis.stop();
      await gate.remove();
    });

    it(`end, ${chords} of ${chords}`, async () => {
      const header = parts.map((number) => sig('canvas.slow', [number, 60]));
      const results = await Promise.all(
        Array.from({ length: chords }, () => client.send(chord(header, sig('canvas.total')))),
      );
      const waiting = redis.client();
      workers.push(...(await Promise.all([start(), start()])));
      let struck = 0;
      while ((await waiting.llen('work')) > 0) {
        if (struck % 2 === 0) {
          await workers.shift()?.kill();
          workers.push(await start());
        } else proxy.resetAll();
        struck += 1;
        await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 400));
      }
      expect(struck).to.be.at.least(4);
      const values = await Promise.all(results.map((result) => result.get({ timeoutMs: 60_000 })));
      expect(values).to.deep.equal(Array(chords).fill(15));
      await eventually(async () => {
        expect(await waiting.hlen('unacked')).to.equal(0);
        expect(await waiting.llen('work')).to.equal(0);
      });
    });
  });
}
