/** Tasks that ask for what cannot be, or throw where nobody can catch it: what a client sees, and what the worker does. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import getPort from 'get-port';
import {
  createClient,
  RemoteTaskError,
  type AsyncResult,
  type Client,
  type SendOptions,
} from '../../../worker/index.ts';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { nodeApp, startNodeWorker, type NodeWorker } from '../../support/nodeWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const monthSeconds = 2_592_000;

describe('the Node worker, tasks that run away', () => {
  let redis: RedisServer;
  let client: Client;
  before(async () => {
    redis = await startRedis();
    client = createClient({ broker: `${redis.url}/0`, backend: `${redis.url}/0` });
  });
  after(async () => {
    await client.close();
    await redis.stop();
  });
  const start = (gateDir: string, ...flags: readonly string[]): Promise<NodeWorker> => {
    const tasks = `${nodeApp('runaway.ts')},${nodeApp('tasks.ts')}`;
    const args = [
      ...['--tasks', tasks, '--queues', 'celery', '--concurrency', '8', '--ack', 'late'],
      ...['--broker', `${redis.url}/0`, ...flags],
    ];
    return startNodeWorker(args, { GATE_DIR: gateDir });
  };
  const failureOf = async (result: AsyncResult): Promise<RemoteTaskError> => {
    try {
      await result.get({ timeoutMs: 20_000 });
    } catch (err) {
      if (err instanceof RemoteTaskError) return err;
      throw err;
    }
    throw new Error('it did not fail');
  };

  describe('that ask for what cannot be', () => {
    let worker: NodeWorker;
    before(async () => {
      worker = await start('');
    });
    after(() => worker.stop());

    for (const task of ['main.again', 'cpu.again']) {
      it(`fails a task that asks for a retry at no time: ${task}`, async () => {
        // They end together with others, which are not to suffer.
        const echo = await client.send('main.echo', ['before']);
        const delays = ['NaN', 'Infinity', '-Infinity', '1e13', '1e12'];
        const sent = await Promise.all(delays.map((delay) => client.send(task, [delay])));
        const after = await client.send('main.echo', ['after']);
        for (const [place, result] of sent.entries()) {
          const error = await failureOf(result);
          expect(error.excType).to.equal('RangeError');
          const value = String(Number(delays[place]));
          expect(error.message).to.contain(`${task} cannot be retried in ${value} seconds`);
        }
        expect([await echo.get(), await after.get()]).to.deep.equal(['before', 'after']);
      });
    }

    it('fails a task whose options ask for a retry at no time', async () => {
      const error = await failureOf(await client.send('main.options'));
      expect(error.message).to.contain('main.options cannot be retried in 10000000000000 seconds');
    });

    it('fails a task whose error cannot be read', async () => {
      const echo = await client.send('main.echo', ['beside']);
      expect((await failureOf(await client.send('main.unreadable'))).message).to.contain('its stack cannot be read');
      expect(await echo.get()).to.equal('beside');
    });

    it('does not take a month, or 0, for a limit that has passed', async () => {
      const cases: (readonly [string, SendOptions])[] = [
        ['main.unlimited', { timeLimitSeconds: monthSeconds, softTimeLimitSeconds: monthSeconds }],
        ['cpu.unlimited', { timeLimitSeconds: monthSeconds, softTimeLimitSeconds: monthSeconds }],
        ['main.zero', {}],
        ['cpu.zero', {}],
      ];
      for (const [name, options] of cases)
        expect(await (await client.send(name, [], options)).get({ timeoutMs: 20_000 }), name).to.equal(false);
      // Celery's clients write 0; the one of Node does not.
      for (const task of ['main.unlimited', 'cpu.unlimited']) {
        const limits = { timeLimitSeconds: 7, softTimeLimitSeconds: 5 };
        const { raw } = buildMessage({ task, id: `${task}-0`, tag: randomUUID(), routingKey: 'celery', ...limits });
        const changed = raw.replace('"timelimit":[7,5]', '"timelimit":[0,0]');
        expect(changed).to.not.equal(raw);
        await redis.command('lpush', 'celery', changed);
        expect(await client.result(`${task}-0`).get({ timeoutMs: 20_000 }), `${task}, 0`).to.equal(false);
      }
    });

    it('tells a task in a thread of its soft limit although nothing else keeps the thread', async () => {
      expect(await (await client.send('cpu.patient')).get({ timeoutMs: 20_000 })).to.equal('SoftTimeLimitExceeded');
    });

    it('has not ended, and ends in order with the longest time to drain', async () => {
      expect(worker.output()).to.not.contain('caught by nobody');
      await worker.stop();
      expect(await worker.ended()).to.equal(0);
      const longest = await start('', '--drain-seconds', '31536000');
      await longest.stop();
      expect(await longest.ended()).to.equal(0);
      expect(longest.output()).to.contain('"ended"').and.not.contain('TimeoutOverflowWarning');
    });
  });

  describe('that throw where nobody can catch it', () => {
    let gate: Gate;
    let worker: NodeWorker;
    let port: number;
    beforeEach(async () => {
      gate = await makeGate();
    });
    const begin = async (...flags: readonly string[]): Promise<void> => {
      port = await getPort({ host: '127.0.0.1' });
      worker = await start(gate.dir, '--port', String(port), ...flags);
    };
    afterEach(async () => {
      await worker.stop();
      await gate.remove();
      await redis.command('flushall');
    });
    const ready = async (): Promise<readonly [status: number, text: string]> => {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
      return [answer.status, await answer.text()];
    };
    const error = { excType: 'RangeError', message: 'RangeError: nobody can catch this' };

    it('fails the task, is not ready, lets others end, and exits 1', async () => {
      await begin();
      await eventually(async () => expect((await ready())[0]).to.equal(200));
      const other = await client.send('node.gated', ['other']);
      const bomb = await client.send('main.bomb', ['now']);
      expect(await failureOf(bomb)).to.include(error);
      const [status, text] = await ready();
      expect(status).to.equal(500);
      expect(text).to.contain('an exception was caught by nobody');
      await gate.open();
      expect(await worker.ended()).to.equal(1);
      expect((await other.meta())?.status).to.equal('SUCCESS');
      const line = worker.log().find((each) => typeof each === 'object' && 'withinSeconds' in each);
      expect(line).to.include({ level: 'error', task: 'main.bomb', id: bomb.id, withinSeconds: 30 });
    });

    it('starts nothing in the slot of the task', async () => {
      await begin('--concurrency', '1', '--prefetch', 'unlimited');
      const bomb = await client.send('main.bomb', ['open']);
      await eventually(async () => expect(await gate.started()).to.deep.equal([bomb.id]));
      const next = await client.send('node.gated', ['next']);
      await eventually(async () => expect(await redis.command('hlen', 'unacked')).to.equal(2));
      await gate.open();
      expect(await failureOf(bomb)).to.include(error);
      expect(await worker.ended()).to.equal(1);
      expect(await gate.started()).to.deep.equal([bomb.id]);
      expect(String(await redis.command('lrange', 'celery', 0, -1))).to.contain(next.id);
    });

    it('waits for others no longer than it may drain', async () => {
      await begin('--drain-seconds', '1');
      const other = await client.send('main.forever');
      expect(await failureOf(await client.send('main.bomb', ['now']))).to.include(error);
      expect(await worker.ended()).to.equal(1);
      expect(String(await redis.command('lrange', 'celery', 0, -1))).to.contain(other.id);
    });

    it('fails the task while the worker ends, too', async () => {
      await begin();
      const bomb = await client.send('main.bomb', ['open']);
      await eventually(async () => expect(await gate.started()).to.deep.equal([bomb.id]));
      worker.signal('SIGTERM');
      await eventually(() => worker.output().includes('"ending"'));
      await gate.open();
      expect(await failureOf(bomb)).to.include(error);
      expect(await worker.ended()).to.equal(1);
    });
  });
});
