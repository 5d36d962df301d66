/**
 * At SIGTERM a worker gives back at once what it holds and does not run, in order and at the head of the queue; what
 * runs goes on to its end; and until then the worker says so. Left to itself Celery keeps all of it until the last
 * running task has ended, hours later, and says that it is offline.
 */
import { expect } from 'chai';
import { makePool, type PoolBuilder } from '../support/builders.ts';
import { celeryVersions, ensureCelery, listen, makeGate, runPython, startWorker } from '../support/celery.ts';
import type { Celery, CeleryWorker, Gate, Listener } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';

for (const version of celeryVersions) {
  describe(`the end of a worker on Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let heard: Listener;
    let gate: Gate;
    let worker: CeleryWorker;

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis({ config: { appendonly: 'yes' } });
      heard = await listen(redis);
    });
    after(() => redis.stop());
    beforeEach(async () => {
      gate = await makeGate();
    });
    afterEach(async () => {
      await worker.stop();
      await gate.remove();
      await redis.command('FLUSHALL');
      heard.forget();
    });

    const pool = (): PoolBuilder =>
      makePool('a').broker({ url: redis.url }).app('plain').queue('work').concurrency(2).prefetch('Multiplier', 4);
    const send = async (code: string): Promise<void> => {
      await runPython(celery, `import plain\n${code}`, { CELERY_BROKER_URL: redis.url });
    };
    const sendGated = (count: number): Promise<void> =>
      send(`for n in range(${count}): plain.gated.apply_async((n,), queue='work')`);
    const unacked = async (): Promise<number> => Number(await redis.command('HLEN', 'unacked'));
    /** Arguments of the queue's messages, the next to be served first. */
    const inQueue = async (): Promise<string[]> => {
      const messages = (await redis.command('LRANGE', 'work', 0, -1)) as string[];
      return messages.map(argumentOf).reverse();
    };
    const running = (count: number): Promise<unknown> =>
      eventually(async () => (await gate.started()).length === count, { timeoutMs: 20_000 });

    for (const ackMode of ['Early', 'Late'] as const) {
      it(`hands back in order what does not run, and lets the rest end: ${ackMode}`, async () => {
        worker = await startWorker({ celery, pool: pool().ack(ackMode).obj(), gate });
        await sendGated(12);
        await running(2);
        await eventually(() => expect(heard.latest()?.held).to.deep.equal({ work: ackMode === 'Early' ? 8 : 6 }));
        const runs = (await gate.started()).map(Number);
        worker.signal('SIGTERM');
        const waiting = Array.from({ length: 12 }, (_, n) => n).filter((n) => !runs.includes(n));
        await eventually(async () => expect(await inQueue()).to.deep.equal(waiting.map(String)));
        expect(await unacked()).to.equal(ackMode === 'Early' ? 0 : 2);
        expect(worker.isRunning()).to.equal(true);

        heard.forget();
        await eventually(() => {
          expect(heard.latest()?.running).to.deep.equal({ work: 2 });
          expect(heard.latest()?.held).to.deep.equal({});
        });
        expect(heard.offline, 'a worker that runs tasks is not offline').to.deep.equal([]);

        await gate.open();
        expect(await worker.ended()).to.equal(0);
        expect((await gate.ended()).map(Number)).to.have.members(runs);
        expect(await gate.started(), 'nothing else has started').to.have.length(2);
        expect(await inQueue()).to.deep.equal(waiting.map(String));
        expect(await unacked()).to.equal(0);
        await eventually(() => expect(heard.offline).to.deep.equal([worker.hostname]));
      });
    }

    it('hands back tasks with an ETA and tasks that wait for their rate limit', async () => {
      worker = await startWorker({ celery, pool: pool().obj(), gate });
      await sendGated(1);
      await running(1);
      await send(
        [
          "plain.gated.apply_async(('eta',), queue='work', countdown=3600)",
          // The first one of an hour runs; the second and third wait.
          "for n in range(3): plain.limited.apply_async(('limited%d' % n,), queue='work')",
        ].join('\n'),
      );
      await eventually(() => {
        expect(heard.latest()?.scheduled).to.equal(1);
        expect(heard.latest()?.held).to.deep.equal({ work: 2 });
        expect(heard.latest()?.running).to.deep.equal({ work: 1 });
      });
      worker.signal('SIGTERM');
      await eventually(async () => expect(await inQueue()).to.deep.equal(['eta', 'limited1', 'limited2']));
      await gate.open();
      expect(await worker.ended()).to.equal(0);
      expect(await gate.ended()).to.have.members(['0', 'limited0']);
    });

    it('ends an idle worker at once, and loses no message that is on its way to it', async () => {
      worker = await startWorker({ celery, pool: pool().prefetch('Fair').obj(), gate });
      await eventually(() => expect(heard.latest()?.running).to.deep.equal({}));
      worker.signal('SIGTERM');
      await sendGated(3);
      expect(await worker.ended()).to.equal(0);
      const known = [...(await inQueue()), ...(await gate.started())];
      expect(known).to.have.members(['0', '1', '2']);
      expect(await unacked()).to.equal(0);
    });

    // Celery 5.7.0 ends with "Unrecoverable error: AttributeError" here, and early acknowledged tasks are lost with it.
    it('survives a Redis that restarts while a late task runs, and acknowledges it afterwards', async () => {
      worker = await startWorker({ celery, pool: pool().prefetch('Fair').ack('Late').obj(), gate });
      await sendGated(1);
      await running(1);
      await redis.restart({ keepData: true });
      heard.forget();
      await eventually(() => expect(heard.latest()?.running).to.deep.equal({ work: 1 }), { timeoutMs: 30_000 });
      await sendGated(2);
      await running(2);
      expect(await inQueue(), 'a second slot, and no more').to.deep.equal(['1']);
      await gate.open();
      await eventually(async () => expect(await gate.ended()).to.have.length(3));
      await eventually(async () => expect(await unacked()).to.equal(0));
      expect(await gate.started()).to.have.length(3);
      expect(worker.isRunning()).to.equal(true);
    });
  });
}

function argumentOf(text: string): string {
  const { body } = JSON.parse(text) as { body: string };
  const [[argument]] = JSON.parse(Buffer.from(body, 'base64').toString()) as [[unknown]];
  return String(argument);
}
