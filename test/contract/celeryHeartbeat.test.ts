/** The `muster` field of a heartbeat is what the worker does, and news does not wait for the next heartbeat. */
import { expect } from 'chai';
import { makePool } from '../support/builders.ts';
import { celeryVersions, ensureCelery, listen, makeGate, runPython, startWorker } from '../support/celery.ts';
import type { Celery, CeleryWorker, Gate, Listener } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';

for (const version of celeryVersions) {
  describe(`heartbeats of Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let heard: Listener;
    let gate: Gate;
    let worker: CeleryWorker;

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis();
    });
    after(() => redis.stop());
    beforeEach(async () => {
      gate = await makeGate();
    });
    afterEach(async () => {
      await worker.stop();
      await gate.remove();
      await redis.command('FLUSHALL');
    });

    const start = async (prefetch: 'Multiplier' | 'Fair', db = 0): Promise<void> => {
      const pool = makePool('reports')
        .broker({ url: `${redis.url}/${db}` })
        .app('plain')
        .concurrency(2);
      heard = await listen(redis, db);
      worker = await startWorker({
        celery,
        pool: pool
          .queue('a')
          .queue('b')
          .prefetch(prefetch, prefetch === 'Fair' ? undefined : 1)
          .obj(),
        gate,
        // So rare that whatever is heard after the first is news.
        args: ['--heartbeat-interval', '3000'],
      });
      await eventually(() => expect(heard.heartbeats).to.have.length(1));
    };
    const send = async (code: string, db = 0): Promise<void> => {
      await runPython(celery, `import plain\n${code}`, { CELERY_BROKER_URL: `${redis.url}/${db}` });
    };

    it('tells at once that something runs, is held, and that nothing does any more', async () => {
      await start('Multiplier');
      const { running, held, queues, pool } = heard.latest() ?? {};
      expect({ running, held, queues, pool }).to.deep.equal({
        running: {},
        held: {},
        queues: ['a', 'b'],
        pool: 'shop/reports',
      });
      await send("plain.gated.apply_async((1,), queue='a')");
      await eventually(() => expect(heard.latest()?.running).to.deep.equal({ a: 1 }));
      await send("plain.gated.apply_async((2,), queue='b'); plain.gated.apply_async((3,), queue='b')");
      await eventually(() => {
        expect(heard.latest()?.running).to.deep.equal({ a: 1, b: 1 });
        expect(heard.latest()?.held).to.deep.equal({ b: 1 });
      });
      await gate.open();
      await eventually(() => {
        expect(heard.latest()?.running).to.deep.equal({});
        expect(heard.latest()?.held).to.deep.equal({});
      });
      expect(heard.heartbeats.every(({ hostname }) => hostname === 'reports@reports-0')).to.equal(true);
    });

    it('does not flood the broker while many short tasks run', async () => {
      await start('Fair', 3);
      const beganMs = performance.now();
      await send("for n in range(200): plain.quick.apply_async((n,), queue='a')", 3);
      await eventually(async () => expect(await gate.ended()).to.have.length(200), { timeoutMs: 30_000 });
      await eventually(() => expect(heard.latest()?.running).to.deep.equal({}));
      // One per 0.2 s at most, the first one and one at each end besides.
      expect(heard.heartbeats.length).to.be.at.most(3 + (performance.now() - beganMs) / 200);
    });
  });
}
