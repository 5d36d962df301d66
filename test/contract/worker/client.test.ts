/** The Node client drives real Python workers. */
import { expect } from 'chai';
import { task } from '../../../worker/index.ts';
import { ResultTimeoutError } from '../../../worker/client/asyncResult.ts';
import { createClient, type Client, type ClientOptions } from '../../../worker/client/client.ts';
import { RemoteTaskError } from '../../../worker/protocol/failure.ts';
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
import { startRedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

for (const version of askedVersions) {
  describe(`the Node client with workers of Celery ${version}`, function () {
    this.timeout(60_000);
    let redis: RedisServer;
    let gate: Gate;
    let worker: CeleryWorker;
    let client: Client;
    const clients = new Set<Client>();
    const makeClient = (options: Partial<ClientOptions> = {}): Client => {
      const made = createClient({ broker: redis.url, backend: `${redis.url}/1`, defaultQueue: 'work', ...options });
      clients.add(made);
      return made;
    };
    /** What a promise is rejected with. */
    const failureOf = (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => expect.fail('it did not fail'),
        (err: unknown) => err,
      );

    before(async function () {
      this.timeout(180_000);
      const celery = await ensureCelery(version);
      redis = await startRedis();
      gate = await makeGate();
      const pool = makePool('py').broker({ url: redis.url }).app('answers').queue('work').concurrency(2).obj();
      worker = await startWorker({ celery, pool, gate, env: { ANSWERS_BACKEND: `${redis.url}/1` } });
    });
    beforeEach(() => {
      client = makeClient();
    });
    afterEach(async () => {
      await Promise.all([...clients].map((each) => each.close()));
      clients.clear();
    });
    after(async () => {
      await worker.stop();
      await gate.remove();
      await redis.stop();
    });

    it('sends positional and keyword arguments and gets the value', async () => {
      const sent = await client.send('answers.add', [2, 3], { kwargs: { scale: 10 } });
      expect(await sent.get({ timeoutMs: 20_000 })).to.equal(50);
      expect(await sent.state()).to.equal('SUCCESS');
      expect(await client.result(sent.id).get({ timeoutMs: 1_000 })).to.equal(50);
    });

    it('gives a task that is defined here its type', async () => {
      const add = task('answers.add', {}, (_ctx, a: number, b: number): number => a + b);
      const value: number = await (await client.send(add, [20, 22])).get({ timeoutMs: 20_000 });
      expect(value).to.equal(42);
    });

    it('makes values arrive as what they are', async () => {
      for (const value of ['ü \u{1f600}', 2n ** 70n, [null, true, -1.5], { a: { b: [] } }]) {
        const sent = await client.send('answers.echo', [value]);
        expect(await sent.get({ timeoutMs: 20_000 })).to.deep.equal(value);
      }
      const bytes = await client.send('answers.describe', [Buffer.from([0xff, 0])]);
      expect(await bytes.get({ timeoutMs: 20_000 })).to.equal(String.raw`bytes b'\xff\x00'`);
    });

    it('makes an exception of Python an error with its type, arguments and traceback', async () => {
      const err = await failureOf((await client.send('answers.fail', ['no'])).get({ timeoutMs: 20_000 }));
      if (!(err instanceof RemoteTaskError)) throw err;
      expect(err).to.include({ excType: 'ValueError', excModule: 'builtins' });
      expect(err.excArgs).to.deep.equal(['no', 7]);
      expect(err.traceback).to.contain('in fail');
    });

    it('reports a task that expired before it ran', async () => {
      const late = await client.send('answers.add', [1, 1], { expires: new Date(Date.now() - 60_000) });
      const err = await failureOf(late.get({ timeoutMs: 20_000 }));
      expect(err).to.be.instanceOf(RemoteTaskError).and.include({ excType: 'TaskRevokedError' });
    });

    it('delays a task, and takes a negative countdown for none', async () => {
      const before = performance.now();
      const delayed = await client.send('answers.add', [1, 1], { countdownSeconds: 1.5 });
      expect(
        await (await client.send('answers.add', [1, 2], { countdownSeconds: -5 })).get({ timeoutMs: 20_000 }),
      ).to.equal(3);
      await delayed.get({ timeoutMs: 20_000 });
      expect(performance.now() - before).to.be.greaterThan(1_400);
    });

    it('waits without asking, ends its wait in time, and can wait again', async () => {
      const sent = await client.send('answers.gated', ['a']);
      expect(await failureOf(sent.get({ timeoutMs: 50 }))).to.be.instanceOf(ResultTimeoutError);
      const reads = async (): Promise<string> =>
        /cmdstat_mget:calls=(\d+)/.exec(String(await redis.command('INFO', 'commandstats')))?.[1] ?? 'none';
      const waiting = sent.get({ timeoutMs: 20_000 });
      await eventually(() => gate.started().then((names) => names.includes('a')));
      // Time in which a poller would have asked.
      const before = await eventually(async () => ((await reads()) === '0' ? false : await reads()));
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await reads()).to.equal(before);
      await gate.open();
      expect(await waiting).to.equal('a');
    });

    it('gets a result that came while its connection was lost, by a reset or in silence', async () => {
      const proxy = await startRedisProxy(redis.port);
      const backend = `redis://127.0.0.1:${proxy.port}/1`;
      const far = makeClient({ backend, timeoutMs: 500 });
      try {
        for (const fault of ['reset', 'silence'] as const) {
          const sent = await far.send('answers.add', [1, 1], { countdownSeconds: 1 });
          const waiting = sent.get({ timeoutMs: 30_000 });
          const channel = `celery-task-meta-${sent.id}`;
          await eventually(async () => ((await redis.command('PUBSUB', 'NUMSUB', channel)) as unknown[])[1] === 1);
          // The read behind the subscription has been answered too: from here on only a sign of life can tell.
          await far.result(sent.id).state();
          if (fault === 'reset') {
            proxy.refuse(true);
            proxy.resetAll();
          } else proxy.blackhole(true);
          await client.result(sent.id).get({ timeoutMs: 20_000 });
          proxy.refuse(false);
          proxy.blackhole(false);
          expect(await waiting).to.equal(2);
        }
      } finally {
        await proxy.close();
      }
    });

    it('sends by its routing table, and by priority', async () => {
      const routed = makeClient({ routes: { 'reports.*': { queue: 'reports' } }, defaultQueue: 'rest' });
      await routed.send('reports.a', []);
      await routed.send('other', [], { priority: 7 });
      await routed.send('reports.a', [], { queue: 'explicit' });
      const lengths = ['reports', 'rest\x06\x166', 'explicit'].map((list) => redis.command('LLEN', list));
      expect(await Promise.all(lengths)).to.deep.equal([1, 1, 1]);
    });

    it('keeps the order of what it sends', async () => {
      await Promise.all(
        Array.from({ length: 3_000 }, (_, at) => client.send('n', [], { queue: 'order', id: String(at) })),
      );
      const raws = (await redis.command('LRANGE', 'order', 0, -1)) as string[];
      const ids = raws.map((raw) => (JSON.parse(raw) as { headers: { id: string } }).headers.id).reverse();
      expect(ids).to.deep.equal(Array.from({ length: 3_000 }, (_, at) => String(at)));
    });

    it('says why there is no result', async () => {
      const ignored = await client.send('answers.add', [1, 1], { ignoreResult: true });
      expect(await failureOf(ignored.get()))
        .to.have.property('message')
        .that.contains('ignoreResult');
      const none = createClient({ broker: redis.url });
      expect(await failureOf(none.result('x').get()))
        .to.have.property('message')
        .that.contains('no result backend');
      await none.close();
    });

    it('refuses a wrong URL and contradicting times in one sentence without the password', async () => {
      expect(() => createClient({ broker: 'amqp://me:secret@host' }))
        .to.throw(TypeError)
        .with.property('message')
        .that.does.not.contain('secret');
      const both = client.send('a', [], { countdownSeconds: 1, eta: new Date() });
      expect(await failureOf(both)).to.be.instanceOf(TypeError);
    });

    it('sends what was asked for while the broker was gone, once', async () => {
      await client.send('first', [], { queue: 'away' });
      await redis.command('SAVE');
      await redis.kill();
      const sent = client.send('second', [], { queue: 'away' });
      await new Promise((resolve) => setTimeout(resolve, 300));
      await redis.start();
      await sent;
      expect(await redis.command('LLEN', 'away')).to.equal(2);
    });

    it('gives up in time when the broker stays away', async () => {
      const lost = createClient({ broker: 'redis://127.0.0.1:1', giveUpMs: 200 });
      expect(await failureOf(lost.send('a', [])))
        .to.have.property('message')
        .that.contains('refused the connection');
      await lost.close();
    });
  });
}
