/** Time limits and worker threads, as a client sees them. One slot, so that a task that keeps its slot is noticed. */
import { expect } from 'chai';
import { createClient, Decimal, RemoteTaskError, Uuid, type Client } from '../../../worker/index.ts';
import { eventually } from '../../support/eventually.ts';
import { nodeApp, startNodeWorker, type NodeWorker } from '../../support/nodeWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('the Node worker, threads and time limits', () => {
  let redis: RedisServer;
  let worker: NodeWorker;
  let client: Client;
  before(async () => {
    redis = await startRedis();
    const fixed = ['--tasks', nodeApp('limits.ts'), '--queues', 'celery', '--concurrency', '1'];
    worker = await startNodeWorker([...fixed, '--ack', 'late', '--broker', `${redis.url}/0`]);
    client = createClient({ broker: `${redis.url}/0`, backend: `${redis.url}/0` });
  });
  after(async () => {
    await client.close();
    await worker.stop();
    await redis.stop();
  });
  const run = async (task: string, ...args: unknown[]): Promise<unknown> =>
    (await client.send(task, args)).get({ timeoutMs: 30_000 });
  const failureOf = async (task: string): Promise<RemoteTaskError> => {
    try {
      await run(task);
    } catch (err) {
      if (err instanceof RemoteTaskError) return err;
      throw err;
    }
    throw new Error(`${task} did not fail`);
  };

  it('computes in a thread', async () => {
    expect(await run('cpu.fib', 20)).to.equal(6765);
  });

  it('ends a thread that never ends by itself, and the next task runs', async () => {
    expect(await failureOf('cpu.spin')).to.include({ excType: 'TimeLimitExceeded', excModule: 'billiard.exceptions' });
    expect(await run('cpu.fib', 10)).to.equal(55);
  });

  it('fails with the soft limit where functions of Node throw an AbortError, in a thread and in the main one', async () => {
    const limit = { excType: 'SoftTimeLimitExceeded', excModule: 'billiard.exceptions' };
    expect(await failureOf('cpu.soft')).to.include(limit);
    expect(await failureOf('main.soft')).to.include(limit);
  });

  it('retries from a thread: when it is asked to, for a class of errors, and fails with the cause in the end', async () => {
    expect(await run('cpu.again')).to.equal(1);
    expect(await run('cpu.unsteady')).to.equal(1);
    expect(await failureOf('cpu.hopeless')).to.include({
      excType: 'RangeError',
      message: 'RangeError: the real cause',
    });
  });

  it('stores the states that a task in a thread tells', async () => {
    const result = await client.send('cpu.states', []);
    await eventually(async () =>
      expect((await result.meta())?.result).to.deep.equal({ percent: 10, status: 'SUCCESS' }),
    );
    expect(await result.get({ timeoutMs: 30_000 })).to.equal('done');
  });

  it('fails as in the main thread: an error, and a result that is no data', async () => {
    expect(await failureOf('cpu.broken')).to.include({ excType: 'RangeError', message: 'RangeError: too far' });
    expect((await failureOf('cpu.unsayable')).message).to.match(/the result.*rows.*function/);
  });

  it('fails with the promise that a task in a thread leaves behind, and the thread goes on', async () => {
    expect((await failureOf('cpu.careless')).message).to.equal('RangeError: nobody looks');
    expect(await run('cpu.fib', 10)).to.equal(55);
  });

  it('starts tasks from a thread, replaces one, and fails with what cannot be sent', async () => {
    const parent = await client.send('cpu.starts');
    const child = (await parent.get({ timeoutMs: 30_000 })) as string;
    expect(await client.result(child).get({ timeoutMs: 30_000 })).to.equal(55);
    expect(await parent.meta()).to.have.nested.property('children[0][0][0]', child);
    expect(await run('cpu.replaced')).to.equal(6765);
    expect((await failureOf('cpu.startsWrong')).message).to.contain('the priority is 99');
  });

  it('gives the values of Python that JavaScript does not have to a thread, and back', async () => {
    const values = [
      new Decimal('1.50'),
      new Uuid('6b1e7d4e-0f5b-4d55-9a3c-2d4a8f6f0b11'),
      Buffer.from('bytes'),
      2n ** 70n,
    ];
    expect(await run('cpu.echo', ...values)).to.deep.equal(values);
  });

  it('lets a task in the main thread end in order at its soft limit', async () => {
    expect(await run('main.patient')).to.equal('ended: SoftTimeLimitExceeded');
  });

  it('frees the slot of a task in the main thread that goes on after its hard limit', async () => {
    expect((await failureOf('main.deaf')).excType).to.equal('TimeLimitExceeded');
    expect(await run('cpu.fib', 10)).to.equal(55);
  });

  it('ends with no thread left behind', async () => {
    await worker.stop();
    expect(await worker.ended()).to.equal(0);
  });
});
