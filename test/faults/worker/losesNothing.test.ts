/**
 * Numbered tasks, workers that are killed at random moments, a Redis that is killed and started again, and connections
 * that are cut. Redis writes every command to disk (AOF, always), so that whatever it answered it still knows.
 */
import type { Redis } from 'ioredis';
import { expect } from 'chai';
import { makePool } from '../../support/builders.ts';
import { ensureCelery, makeGate, startWorker, type CeleryWorker, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { sendNumbered, tally, unackedNumbers } from '../../support/numbered.ts';
import { startRedisProxy, type RedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const visibilitySeconds = 5;
const faults = ['kill', 'cut', 'redis', 'kill', 'flush', 'cut', 'kill', 'redis'] as const;

describe('Node workers that are killed lose nothing', function () {
  this.timeout(170_000);
  let redis: RedisServer;
  let client: Redis;
  let proxy: RedisProxy;
  let gate: Gate;
  let workers: TaskWorker[];
  let python: CeleryWorker | undefined;
  /** Numbers that may run twice: a fault came while they were not acknowledged. */
  let exposed: Set<number>;
  /** Process ids of the workers that were killed. */
  let killed: Set<string>;

  beforeEach(async () => {
    redis = await startRedis({ config: { appendonly: 'yes', appendfsync: 'always' } });
    client = redis.client();
    proxy = await startRedisProxy(redis.port);
    gate = await makeGate();
    workers = [];
    exposed = new Set();
    killed = new Set();
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await python?.stop();
    python = undefined;
    await proxy.close();
    await redis.stop();
    await gate.remove();
  });

  const start = (ack: string): Promise<TaskWorker> =>
    startTaskWorker(`redis://127.0.0.1:${proxy.port}`, gate.dir, {
      ...{ concurrency: 16, prefetch: 4, ack, backend: 'none' },
      'visibility-timeout-seconds': visibilitySeconds,
    });
  const expose = async (): Promise<void> => {
    for (const number of await unackedNumbers(client)) exposed.add(number);
  };

  const strike = async (fault: (typeof faults)[number], ack: string): Promise<void> => {
    await expose();
    if (fault === 'kill') {
      const [victim] = workers.splice(Math.floor(Math.random() * workers.length), 1);
      await victim?.kill();
      killed.add(String(victim?.pid));
      await expose();
      workers.push(await start(ack));
    } else if (fault === 'redis') {
      await redis.kill();
      await redis.start();
      await expose();
    } else if (fault === 'flush') await redis.command('SCRIPT', 'FLUSH');
    else proxy.resetAll();
    await expose();
  };

  /** Strikes until all have begun, with random pauses. */
  const run = async (count: number, ack: string, leastFaults: number): Promise<number> => {
    let struck = 0;
    for (;;) {
      const { begun } = await tally(gate);
      const isLong = begun.size < 0.9 * count;
      if (!isLong && struck >= leastFaults) return struck;
      if (!isLong) throw new Error(`it was over after ${struck} faults: make the tasks longer`);
      await strike(faults[struck % faults.length] ?? 'kill', ack);
      struck += 1;
      await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 700));
    }
  };

  const isEmpty = async (): Promise<void> => {
    const [list, unacked, index] = await Promise.all([
      client.llen('work'),
      client.hlen('unacked'),
      client.zcard('unacked_index'),
    ]);
    expect({ list, unacked, index }).to.deep.equal({ list: 0, unacked: 0, index: 0 });
  };

  it('20,000 tasks, acknowledged late: each runs, and twice only what was not acknowledged when something died', async () => {
    const count = 20_000;
    await sendNumbered(client, count, 30);
    workers = await Promise.all([start('late'), start('late'), start('late')]);
    const struck = await run(count, 'late', 6);
    await eventually(isEmpty, { timeoutMs: 60_000, intervalMs: 200 });
    const { begun, ended, twice } = await tally(gate);
    expect(begun.size, 'begun').to.equal(count);
    expect(ended.size, 'ended').to.equal(count);
    expect(twice.filter((number) => !exposed.has(number))).to.deep.equal([]);
    expect(Math.max(...begun.values())).to.be.at.most(1 + struck);
  });

  it('20,000 tasks with a Python worker beside, which sweeps too', async function () {
    this.timeout(300_000);
    const celery = await ensureCelery('5.6.3');
    const count = 20_000;
    await sendNumbered(client, count, 30);
    const pool = makePool('py')
      .broker({ url: redis.url })
      .app('numbered')
      .queue('work')
      .concurrency(2)
      .ack('Late')
      .obj();
    const env = { VISIBILITY_TIMEOUT: String(visibilitySeconds) };
    python = await startWorker({ celery, pool, gate, env });
    workers = await Promise.all([start('late'), start('late')]);
    const nodes = new Set(workers.map(({ pid }) => String(pid)));
    const struck = await run(count, 'late', 6);
    for (const { pid } of workers) nodes.add(String(pid));
    for (const pid of killed) nodes.add(pid);
    await eventually(isEmpty, { timeoutMs: 120_000, intervalMs: 200 });
    const { begun, ended, twice, byProcess } = await tally(gate);
    expect(begun.size, 'begun').to.equal(count);
    expect(ended.size, 'ended').to.equal(count);
    expect(twice.filter((number) => !exposed.has(number))).to.deep.equal([]);
    expect(Math.max(...begun.values())).to.be.at.most(1 + struck);
    // Neither starves the other.
    const [byNode, byPython] = [true, false].map((isNode) =>
      [...byProcess].filter(([pid]) => nodes.has(pid) === isNode).reduce((sum, [, times]) => sum + times, 0),
    );
    expect(byNode).to.be.greaterThan(100);
    expect(byPython).to.be.greaterThan(100);
  });

  it('4,000 tasks, acknowledged early: only what ran in a killed worker does not end', async () => {
    const count = 4_000;
    await sendNumbered(client, count, 50);
    workers = await Promise.all([start('early'), start('early')]);
    await run(count, 'early', 3);
    await eventually(isEmpty, { timeoutMs: 60_000, intervalMs: 200 });
    // What runs in a worker that lives still ends.
    await eventually(async () => {
      const { begun, ended, twice, ranIn } = await tally(gate);
      expect(begun.size, 'begun').to.equal(count);
      const byVictim = new Map<string, number>();
      for (const number of begun.keys()) {
        const pid = ranIn.get(number) ?? 'none';
        if (!ended.has(number)) byVictim.set(pid, (byVictim.get(pid) ?? 0) + 1);
      }
      expect([...killed]).to.include.members([...byVictim.keys()]);
      // No more than it had slots.
      expect(Math.max(0, ...byVictim.values())).to.be.at.most(16);
      expect(twice.filter((number) => !exposed.has(number))).to.deep.equal([]);
    });
  });
});
