/** Celery's own command line, and its results, in front of a Node worker. */
import { expect } from 'chai';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { askedVersions, ensureCelery } from '../../support/celery.ts';
import { startCeleryClient, type CeleryClient } from '../../support/celeryClient.ts';
import { eventually } from '../../support/eventually.ts';
import { makeGates, startNodeWorker, type Gates } from '../../support/inProcessWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const node = 'n1@here';
/** Celery waits for as many answers as it names nodes, and else for its whole timeout. */
const here = ['--timeout', '10', '--destination', node];

for (const version of askedVersions) {
  describe(`the commands of Celery ${version} in front of a Node worker`, function () {
    this.timeout(90_000);
    let redis: RedisServer;
    let client: CeleryClient;
    let gates: Gates;
    let worker: Worker;

    const start = async (...flags: string[]): Promise<void> => {
      const add = task('sum', {}, (_ctx, a: number, b: number) => a + b);
      const defaults = ['--queues', 'work', '--hostname', node];
      worker = startNodeWorker(`${redis.url}/0`, [...gates.tasks, add], [...defaults, ...flags]);
      await eventually(async () => node in (await client.control('ping', {}, { destination: [node], timeout: 0.3 })), {
        timeoutMs: 20_000,
      });
    };
    const ask = async (command: string): Promise<unknown> =>
      (await client.control(command, {}, { destination: [node] }))[node];
    const sendGated = (name: string, options: Record<string, unknown> = {}): Promise<string> =>
      client.send('gate.wait', [name], { queue: 'work', ...options });
    const hasStarted = (...names: string[]): Promise<unknown> =>
      eventually(() => names.every((name) => gates.started.includes(name)));
    const stateOf = async (id: string): Promise<string> => (await client.result(id)).state;

    before(async function () {
      this.timeout(180_000);
      redis = await startRedis();
      client = await startCeleryClient(await ensureCelery(version), `${redis.url}/0`);
    });
    beforeEach(async () => {
      gates = makeGates();
      await redis.command('FLUSHALL');
    });
    afterEach(async () => {
      gates.openAll();
      await worker.stop(AbortSignal.timeout(1_000));
    });
    after(async () => {
      await client.close();
      await redis.stop();
    });

    it("is shown by Celery's own commands", async () => {
      await start();
      const commands = ['ping', 'active', 'reserved', 'scheduled', 'revoked', 'registered', 'stats', 'active_queues'];
      for (const command of [...commands, 'conf', 'report', 'clock', 'memsample']) {
        const shown = await client.cli('inspect', ...here, command);
        expect(shown, command).to.contain(`${node}: OK`).and.contain('1 node online');
      }
      const id = await sendGated('a');
      await hasStarted('a');
      const found = await client.cli('inspect', ...here, 'query_task', id);
      expect(found).to.contain(id).and.contain('active');
      expect(await client.cli('status', ...here))
        .to.contain(`${node}: OK`)
        .and.contain('1 node online');
    });

    it("does what Celery's own commands ask for", async () => {
      await start('--concurrency', '2');
      const control = (...args: string[]): Promise<string> => client.cli('control', ...here, ...args);
      const did = async (answer: string, ...args: string[]): Promise<void> => {
        expect(await control(...args), args.join(' '))
          .to.contain(`${node}: OK`)
          .and.contain(answer);
      };
      await did('new rate limit set successfully', 'rate_limit', 'sum', '10/m');
      expect(await ask('registered')).to.include('sum [rate_limit=10/m]');
      await did('time limits set successfully', 'time_limit', 'gate.wait', '300', '600');
      await did('pool will grow', 'pool_grow', '2');
      expect(worker.executor.slots.size).to.equal(4);
      await did('pool will shrink', 'pool_shrink');
      expect(worker.executor.slots.size).to.equal(3);
      await did('add consumer extra', 'add_consumer', 'extra', 'extra', 'direct', 'extra');
      expect(worker.consumer.queues()).to.have.members(['work', 'extra']);
      await did('no longer consuming from extra', 'cancel_consumer', 'extra');
      expect(worker.consumer.queues()).to.have.members(['work']);
      await did('task events enabled', 'enable_events');
      await did('task events disabled', 'disable_events');

      const [held, running] = [await sendGated('held', { countdown: 600 }), await sendGated('running')];
      await hasStarted('running');
      await did('flagged as revoked', 'revoke', held);
      await eventually(async () => (await stateOf(held)) === 'REVOKED');
      await did(`terminate: ${running}`, 'terminate', 'KILL', running);
      await eventually(async () => (await stateOf(running)) === 'REVOKED');
      // Celery takes it for a failure that nobody answers.
      await client.cli('control', '--timeout', '1', '--destination', node, 'shutdown').catch(() => undefined);
      await eventually(() => worker.shutdown.aborted);
    });

    it('ends a task for whoever has its result: AsyncResult.revoke(terminate=True)', async () => {
      await start('--concurrency', '1', '--prefetch', '2');
      const running = await sendGated('running');
      await hasStarted('running');
      const held = await sendGated('held');
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 1);
      await client.revoke(held);
      await client.revoke(running, { terminate: true, signal: 'SIGKILL' });
      for (const [id, text] of [
        [running, 'terminated'],
        [held, 'revoked'],
      ] as const)
        expect(await client.get(id)).to.deep.equal({ raised: 'celery.exceptions.TaskRevokedError', text });
      expect(gates.started).to.deep.equal(['running']);
      expect(gates.aborted.has('running')).to.equal(true);
    });
  });
}
