/** Flower in front of a Node worker: what it shows of it, and that its buttons work. */
import { expect } from 'chai';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { ensureCelery } from '../../support/celery.ts';
import { startCeleryClient, type CeleryClient } from '../../support/celeryClient.ts';
import { eventually } from '../../support/eventually.ts';
import { makeGates, startNodeWorker, type Gates } from '../../support/inProcessWorker.ts';
import { startFlower, type Monitor } from '../../support/monitors.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const node = 'n1@here';

interface FlowerWorker {
  readonly active_queues?: readonly { readonly name: string }[];
  readonly registered?: readonly string[];
  readonly stats?: { readonly pool?: { readonly 'max-concurrency'?: number } };
  readonly conf?: Readonly<Record<string, unknown>>;
}

describe('a Node worker in Flower', function () {
  this.timeout(60_000);
  let redis: RedisServer;
  let client: CeleryClient;
  let flower: Monitor;
  let gates: Gates;
  let worker: Worker;

  before(async function () {
    this.timeout(240_000);
    redis = await startRedis();
    client = await startCeleryClient(await ensureCelery('5.7.0'), `${redis.url}/0`);
    gates = makeGates();
    const tasks = [
      ...gates.tasks,
      task('sum', {}, (_ctx, a: number, b: number) => a + b),
      task('fail', {}, () => {
        throw new RangeError('too far');
      }),
    ];
    // Without --events: Flower asks for them.
    const flags = ['--queues', 'work', '--hostname', node, '--concurrency', '2'];
    worker = startNodeWorker(`${redis.url}/0`, tasks, flags);
    flower = await startFlower(`${redis.url}/0`);
    await eventually(async () => expect(await sentBy('sum', [1, 1])).to.have.property('state', 'SUCCESS'), {
      timeoutMs: 30_000,
    });
  });
  after(async () => {
    gates.openAll();
    await flower.stop();
    await worker.stop(AbortSignal.timeout(1_000));
    await client.close();
    await redis.stop();
  });

  const get = async <T>(path: string): Promise<T> => JSON.parse(await flower.get(path)) as T;
  const infoOf = (id: string): Promise<Record<string, unknown>> => get(`/api/task/info/${id}`);
  const send = (name: string, args: readonly unknown[]): Promise<string> => client.send(name, args, { queue: 'work' });
  /** Sends a task, and asks Flower for it until that knows of its end. */
  const sentBy = async (name: string, args: readonly unknown[]): Promise<Record<string, unknown>> => {
    const id = await send(name, args);
    return eventually(
      async () => {
        const info = await infoOf(id);
        expect(info['state']).to.be.oneOf(['SUCCESS', 'FAILURE']);
        return info;
      },
      { timeoutMs: 3_000 },
    );
  };

  it('shows the worker with its queues, tasks and slots', async () => {
    const workers = await eventually(async () => {
      const found = await get<Record<string, FlowerWorker>>('/api/workers?refresh=1');
      expect(found).to.have.property(node).that.has.property('stats');
      return found;
    });
    const { active_queues: queues, registered, stats, conf } = workers[node] ?? {};
    expect(queues?.map(({ name }) => name)).to.deep.equal(['work']);
    expect(registered).to.include.members(['gate.wait', 'sum', 'fail']);
    expect(stats?.pool?.['max-concurrency']).to.equal(2);
    expect(conf).to.include({ worker_concurrency: 2 });
    expect(await get('/api/workers?status=1')).to.deep.equal({ [node]: true });
    expect(await flower.get('/workers')).to.contain(node);
  });

  it('shows tasks, how they end and how long they ran', async () => {
    const good = await sentBy('sum', [2, 3]);
    expect(good).to.include({ name: 'sum', args: '[2, 3]', kwargs: '{}', result: '5', state: 'SUCCESS', worker: node });
    expect(good['runtime']).to.be.within(0, 5);
    const bad = await sentBy('fail', []);
    expect(bad).to.include({ name: 'fail', state: 'FAILURE', worker: node });
    expect(bad['exception']).to.contain('too far');
    expect(bad['traceback']).to.contain('too far');
    const running = await send('gate.wait', ['a']);
    await eventually(async () => expect((await infoOf(running))['state']).to.equal('STARTED'));
    const listed = await get<Record<string, { state: string; worker: string }>>(`/api/tasks?workername=${node}`);
    const states = [good, bad].map(({ uuid }) => listed[String(uuid)]?.state);
    expect([...states, listed[running]?.state]).to.deep.equal(['SUCCESS', 'FAILURE', 'STARTED']);
    await eventually(async () =>
      expect(await flower.get('/metrics')).to.contain(`flower_worker_online{worker="${node}"} 1.0`),
    );
    gates.open('a');
    await eventually(async () => expect((await infoOf(running))['state']).to.equal('SUCCESS'));
  });

  it('has buttons that work: pool, queues, revoke', async () => {
    await flower.post(`/api/worker/pool/grow/${node}`, { n: '2' });
    expect(worker.executor.slots.size).to.equal(4);
    await flower.post(`/api/worker/pool/shrink/${node}`, { n: '1' });
    expect(worker.executor.slots.size).to.equal(3);
    await flower.post(`/api/worker/queue/add-consumer/${node}`, { queue: 'extra' });
    expect(worker.consumer.queues()).to.have.members(['work', 'extra']);
    await flower.post(`/api/worker/queue/cancel-consumer/${node}`, { queue: 'extra' });
    expect(worker.consumer.queues()).to.have.members(['work']);
    const running = await send('gate.wait', ['b']);
    await eventually(() => gates.started.includes('b'));
    await flower.post(`/api/task/revoke/${running}`, { terminate: 'true' });
    await eventually(() => gates.aborted.has('b'));
    await eventually(async () => expect((await infoOf(running))['state']).to.equal('REVOKED'));
  });

  it('knows when the worker is gone, and ends it when asked to', async () => {
    await flower.post(`/api/worker/shutdown/${node}`);
    await eventually(() => worker.shutdown.aborted);
    await worker.stop(AbortSignal.timeout(1_000));
    await eventually(async () => expect(await get('/api/workers?status=1')).to.deep.equal({ [node]: false }));
  });
});
