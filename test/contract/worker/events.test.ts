/** What the Node worker says: heartbeats for the operator, and events as Celery's own receiver and Flower read them. */
import { expect } from 'chai';
import { Reject } from '../../../worker/task/errors.ts';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { systemClock } from '../../../operator/runtime/clock.ts';
import { parseWorkerMessage, type WorkerMessage } from '../../../operator/fleet/heartbeat.ts';
import { askedVersions, ensureCelery } from '../../support/celery.ts';
import { startCeleryClient, type CeleryClient } from '../../support/celeryClient.ts';
import { eventually } from '../../support/eventually.ts';
import { makeGates, startNodeWorker, type Gates } from '../../support/inProcessWorker.ts';
import { createSteppedClock } from '../../support/steppedClock.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

type Heartbeat = Extract<WorkerMessage, { kind: 'heartbeat' }>;

const node = 'images@pod-1';

for (const version of askedVersions) {
  describe(`what the Node worker says, heard by Celery ${version}`, function () {
    this.timeout(60_000);
    let redis: RedisServer;
    let client: CeleryClient;
    let gates: Gates;
    let worker: Worker | undefined;
    const said: { readonly atMs: number; readonly message: WorkerMessage }[] = [];
    const beats = (): Heartbeat[] => said.flatMap(({ message }) => (message.kind === 'heartbeat' ? [message] : []));
    const latest = (): Heartbeat => {
      const last = beats().at(-1);
      if (last === undefined) throw new Error('no heartbeat yet');
      return last;
    };

    const start = async (flags: readonly string[] = [], clock = systemClock): Promise<Worker> => {
      const tasks = [
        ...gates.tasks,
        task('sum', {}, (_ctx, a: number, b: number) => a + b),
        task('fail', {}, (_ctx, text: string) => {
          throw new RangeError(text);
        }),
        task('flaky', { autoretryFor: true, retryDelaySeconds: 0, maxRetries: 1 }, (ctx) => {
          if (ctx.retries === 0) throw new Error('once');
          return 'at last';
        }),
        task('refuse', {}, () => {
          throw new Reject('no', { requeue: false });
        }),
      ];
      const fixed = ['--queues', 'work,other', '--hostname', node, '--concurrency', '2', '--pool', 'prod/images'];
      worker = startNodeWorker(`${redis.url}/0`, tasks, [...fixed, ...flags], clock);
      await eventually(() => latest().hostname === node);
      return worker;
    };
    const stop = async (): Promise<void> => {
      gates.openAll();
      await worker?.stop(AbortSignal.timeout(1_000));
      worker = undefined;
    };
    const typesOf = async (id: string): Promise<unknown[]> =>
      (await client.events()).filter(({ uuid }) => uuid === id).map(({ type }) => type);
    const isSeen = (id: string, ...types: string[]): Promise<unknown> =>
      eventually(async () => expect(await typesOf(id)).to.deep.equal(types));

    before(async function () {
      this.timeout(180_000);
      redis = await startRedis();
      client = await startCeleryClient(await ensureCelery(version), `${redis.url}/0`);
      const listener = redis.client();
      listener.on('pmessage', (_pattern: string, _channel: string, text: string) => {
        said.push({ atMs: performance.now(), message: parseWorkerMessage(text) });
      });
      await listener.psubscribe('/0.celeryev/worker.*');
    });
    beforeEach(async () => {
      gates = makeGates();
      await redis.command('FLUSHALL');
      said.length = 0;
    });
    afterEach(stop);
    after(async () => {
      await client.close();
      await redis.stop();
    });

    it('counts for the operator what it runs, holds and has scheduled, by queue', async () => {
      await start(['--ack', 'late', '--prefetch', '2']);
      await client.send('gate.wait', ['later'], { queue: 'other', countdown: 600 });
      await eventually(() => latest().extra?.scheduled === 1);
      for (const name of ['a', 'b', 'c']) await client.send('gate.wait', [name], { queue: 'work' });
      await client.send('gate.wait', ['d'], { queue: 'other' });
      const known = {
        pool: 'prod/images',
        queues: ['other', 'work'],
        slots: 2,
        ackMode: 'Late',
        prefetch: 'Multiplier',
      };
      await eventually(() => {
        const { extra, extraProblem, active, periodMs } = latest();
        expect(extraProblem).to.equal(undefined);
        expect({ active, periodMs }).to.deep.equal({ active: 2, periodMs: 2_000 });
        const count = (counts: Readonly<Record<string, number>> = {}): number =>
          Object.values(counts).reduce((sum, each) => sum + each, 0);
        expect([count(extra?.running), count(extra?.held), extra?.scheduled]).to.deep.equal([2, 2, 1]);
        expect((extra?.running['work'] ?? 0) + (extra?.held['work'] ?? 0)).to.equal(3);
        expect(extra).to.include({ pool: known.pool, slots: 2, ackMode: 'Late', prefetch: 'Multiplier' });
        expect(extra?.queues).to.deep.equal(known.queues);
      });
      gates.openAll();
      await eventually(() => {
        expect(latest().extra).to.deep.include({ running: {}, held: {}, scheduled: 1 });
        expect(latest()).to.include({ active: 0, processed: 4 });
      });
    });

    it('tells at once that it begins, holds and ends, and every two seconds that it lives', async () => {
      const clock = createSteppedClock();
      const mine = await start(['--prefetch', '1', '--concurrency', '1'], clock);
      const { slots } = mine.executor;
      for (let round = 0; round < 3; round += 1) {
        await client.send('gate.wait', [`r${round}`], { queue: 'work' });
        await eventually(() => slots.running === 1);
        // Far less than the two seconds after which it would have told anyway.
        await clock.step(250);
        await eventually(() => expect(latest().active).to.equal(1));
        gates.open(`r${round}`);
        await eventually(() => slots.running === 0);
        await clock.step(250);
        await eventually(() => expect(latest().active).to.equal(0));
      }
      for (let round = 0; round < 3; round += 1) {
        const soFar = beats().length;
        await clock.step(2_000);
        await eventually(() => expect(beats().length).to.equal(soFar + 1));
      }
    });

    it('says that it is drained, and says goodbye last', async () => {
      await start();
      await client.control('muster_drain', {}, { destination: [node] });
      await eventually(() => expect(latest().extra?.queues).to.deep.equal([]));
      await client.control('muster_resume', {}, { destination: [node] });
      await eventually(() => expect(latest().extra?.queues).to.deep.equal(['other', 'work']));
      await stop();
      await eventually(() => said.at(-1)?.message.kind === 'offline');
    });

    it('goes on with its heartbeats while it ends, until the last task has ended', async () => {
      const mine = await start();
      await client.send('gate.late', ['a'], { queue: 'work' });
      await eventually(() => latest().active === 1);
      const ended = mine.stop(AbortSignal.timeout(20_000));
      worker = undefined;
      said.length = 0;
      await eventually(() => beats().length >= 1 && latest().active === 1);
      expect(await client.control('ping', {}, { destination: [node] })).to.have.property(node);
      expect(said.filter(({ message }) => message.kind === 'offline')).to.have.length(0);
      gates.openAll();
      await ended;
      await eventually(() => said.at(-1)?.message.kind === 'offline');
    });

    it('sends no event of a task unless asked to', async () => {
      await start();
      const isHeard = async (): Promise<boolean> =>
        (await client.events()).some(({ type, hostname }) => type === 'worker-heartbeat' && hostname === node);
      await eventually(isHeard);
      const quiet = await client.send('sum', [1, 2], { queue: 'work' });
      await eventually(async () => (await client.result(quiet)).state === 'SUCCESS');
      const on = await client.control('enable_events', {}, { destination: [node] });
      expect(on).to.deep.equal({ [node]: { ok: 'task events enabled' } });
      const loud = await client.send('sum', [1, 2], { queue: 'work' });
      await isSeen(loud, 'task-received', 'task-started', 'task-succeeded');
      expect(await typesOf(quiet)).to.deep.equal([]);
      const again = await client.control('enable_events', {}, { destination: [node] });
      expect(again).to.deep.equal({ [node]: { ok: 'task events already enabled' } });
      await client.control('disable_events', {}, { destination: [node] });
      const late = await client.send('sum', [1, 2], { queue: 'work' });
      await eventually(async () => (await client.result(late)).state === 'SUCCESS');
      await client.control('enable_events', {}, { destination: [node] });
      const last = await client.send('sum', [1, 2], { queue: 'work' });
      await isSeen(last, 'task-received', 'task-started', 'task-succeeded');
      expect(await typesOf(late)).to.deep.equal([]);
    });

    it('tells how each kind of task ends, as Celery understands it', async () => {
      await start(['--events']);
      const send = (name: string, args: unknown[] = [], options: Record<string, unknown> = {}): Promise<string> =>
        client.send(name, args, { queue: 'work', ...options });
      const good = await send('sum', [2, 3]);
      const bad = await send('fail', ['too far']);
      const flaky = await send('flaky');
      const refused = await send('refuse');
      const expired = await send('sum', [1, 1], { expires: -10 });
      const unknown = await send('no.such.task');
      const terminated = await send('gate.wait', ['t']);
      await eventually(() => gates.started.includes('t'));
      await client.control('revoke', { task_id: terminated, terminate: true }, { destination: [node] });
      await isSeen(good, 'task-received', 'task-started', 'task-succeeded');
      await isSeen(bad, 'task-received', 'task-started', 'task-failed');
      await isSeen(refused, 'task-received', 'task-started', 'task-rejected');
      await isSeen(terminated, 'task-received', 'task-started', 'task-revoked');
      await isSeen(unknown, 'task-failed');
      await eventually(async () =>
        expect(await typesOf(expired))
          .to.include('task-revoked')
          .and.not.include('task-started'),
      );
      const [received, started] = ['task-received', 'task-started'];
      await isSeen(flaky, received, started, 'task-retried', received, started, 'task-succeeded');
      const { workers, tasks } = await client.seen();
      expect(workers[node]).to.include({ alive: true });
      expect(tasks[good]).to.include({ name: 'sum', state: 'SUCCESS', args: '[2, 3]', result: '5' });
      expect(tasks[good]?.['runtime']).to.be.within(0, 5);
      expect(tasks[bad]).to.include({ name: 'fail', state: 'FAILURE' });
      expect(tasks[bad]?.['exception']).to.contain('too far');
      expect(tasks[terminated]).to.include({ state: 'REVOKED' });
    });

    it("is in the dump of Celery's own command, `celery events --dump`", async () => {
      await start(['--events']);
      const dump = client.background('events', '--dump');
      try {
        await eventually(() => expect(dump.output()).to.contain(`${node} [`).and.contain('heartbeat'), {
          timeoutMs: 30_000,
        });
        const id = await client.send('sum', [2, 3], { queue: 'work' });
        await eventually(() => {
          for (const said of ['task received', 'task started', 'task succeeded'])
            expect(dump.output()).to.contain(said);
          expect(dump.output()).to.contain(`sum(${id})`);
        });
      } finally {
        await dump.stop();
      }
    });

    it('sends the events of many tasks in batches', async () => {
      await start(['--events', '--concurrency', '8']);
      let messages = 0;
      let events = 0;
      const listener = redis.client();
      listener.on('pmessage', (_pattern: string, _channel: string, text: string) => {
        messages += 1;
        const { body } = JSON.parse(text) as { body: string };
        events += (JSON.parse(Buffer.from(body, 'base64').toString()) as unknown[]).length;
      });
      await listener.psubscribe('/0.celeryev/task.multi');
      for (let at = 0; at < 100; at += 1) await client.send('sum', [at, 1], { queue: 'work' });
      await eventually(() => events === 300);
      expect(messages).to.be.lessThan(events);
      listener.disconnect();
    });

    it('is back for everybody after its connections were cut, and tasks do not notice', async () => {
      await start(['--events']);
      await client.send('gate.late', ['a'], { queue: 'work' });
      await eventually(() => latest().active === 1);
      const list = String(await redis.command('CLIENT', 'LIST'));
      const ids = [...list.matchAll(/id=(\d+) .*name=muster-worker-(?:control|events)/g)].map(([, id]) => id!);
      expect(ids).to.have.length(2);
      said.length = 0;
      for (const id of ids) await redis.command('CLIENT', 'KILL', 'ID', id);
      await eventually(() => latest().active === 1);
      const pong = { [node]: { ok: 'pong' } };
      await eventually(async () =>
        expect(await client.control('ping', {}, { destination: [node], timeout: 0.5 })).to.deep.equal(pong),
      );
    });
  });
}
