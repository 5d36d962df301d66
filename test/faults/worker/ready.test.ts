/** What Kubernetes is told of a Node worker whose Redis is gone, loads, is a replica or silent; and what it does then. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import getPort from 'get-port';
import type { Redis } from 'ioredis';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { startTaskWorker, tasksFile, type TaskWorker } from '../../support/nodeRig.ts';
import { numberedMessage, tally } from '../../support/numbered.ts';
import { startRedisProxy, type RedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('a Node worker tells whether it is ready', function () {
  this.timeout(90_000);
  let redis: RedisServer;
  let client: Redis;
  let proxy: RedisProxy;
  let gate: Gate;
  let worker: TaskWorker;
  let port: number;
  let sent: number;

  beforeEach(async () => {
    redis = await startRedis({ config: { appendonly: 'yes', appendfsync: 'always' } });
    client = redis.client();
    proxy = await startRedisProxy(redis.port);
    gate = await makeGate();
    port = await getPort({ host: '127.0.0.1' });
    sent = 0;
    const flags = { concurrency: 4, ack: 'late', backend: 'none', port };
    const stuck = join(gate.dir, 'stuck.mjs');
    const run = '() => { for (;;); }';
    await writeFile(stuck, `export default { kind: 'muster.task', name: 'stuck', options: {}, run: ${run} };`);
    const tasks = `${tasksFile},${stuck}`;
    worker = await startTaskWorker(`redis://127.0.0.1:${proxy.port}`, gate.dir, { ...flags, tasks });
    await isReady();
  });
  afterEach(async () => {
    await worker.kill();
    await proxy.close();
    await redis.stop();
    await gate.remove();
  });

  const ask = async (path: string, timeoutMs = 5_000): Promise<readonly [status: number, text: string]> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(timeoutMs) });
    return [answer.status, await answer.text()];
  };
  const isReady = (timeoutMs = 20_000): Promise<unknown> =>
    eventually(async () => expect((await ask('/readyz'))[0]).to.equal(200), { timeoutMs });
  /** It is not ready, says why, and is to be left alone all the same. */
  const isNotReady = async (why: RegExp, timeoutMs = 20_000): Promise<void> => {
    await eventually(
      async () => {
        const [status, text] = await ask('/readyz');
        expect(status).to.equal(500);
        expect(text).to.match(why);
      },
      { timeoutMs, intervalMs: 5 },
    );
    expect((await ask('/healthz'))[0]).to.equal(200);
  };
  const send = async (count: number, ms = 1): Promise<void> => {
    await client.lpush('work', ...Array.from({ length: count }, (_, place) => numberedMessage(sent + place, ms)));
    sent += count;
  };
  const hasRunAll = (): Promise<unknown> =>
    eventually(
      async () => {
        expect((await tally(gate)).ended.size).to.equal(sent);
        expect(await client.hlen('unacked')).to.equal(0);
      },
      { timeoutMs: 20_000 },
    );

  it('Redis is gone, and comes back', async () => {
    await send(10);
    await hasRunAll();
    await redis.kill();
    await isNotReady(/refused|ended|closed|lost/);
    await redis.start();
    await isReady();
    await send(10);
    await hasRunAll();
  });

  it('Redis loads its data', async () => {
    for (let part = 0; part < 20; part += 1) {
      const pairs = Array.from({ length: 500 }, (_, index) => [`filler:${part}:${index}`, 'x']).flat();
      await client.mset(...pairs);
    }
    // As a dump, which is loaded key by key.
    await redis.command('BGREWRITEAOF');
    await eventually(async () => (await client.info('persistence')).includes('aof_rewrite_in_progress:0'));
    await send(40, 200);
    await eventually(async () => (await tally(gate)).begun.size > 4);
    await redis.restart({
      keepData: true,
      wait: false,
      // Microseconds of sleep for each key.
      config: { 'key-load-delay': 300, 'loading-process-events-interval-bytes': 1024 },
    });
    await isNotReady(/loading/i);
    await isReady(30_000);
    await hasRunAll();
  });

  it('Redis is a replica for a while: what it runs is settled afterwards, once', async () => {
    await send(4, 700);
    await eventually(async () => (await tally(gate)).begun.size === 4);
    await client.replicaof('127.0.0.1', 1);
    await eventually(async () => (await tally(gate)).ended.size === 4);
    await isNotReady(/READONLY/);
    await client.replicaof('NO', 'ONE');
    await isReady();
    await send(20);
    await hasRunAll();
    expect((await tally(gate)).twice).to.deep.equal([]);
  });

  it('Redis may not write: it is not ready, although it is connected', async () => {
    // So that it asks only when it may not.
    worker.signal('SIGSTOP');
    await send(10);
    await client.config('SET', 'min-replicas-to-write', '1');
    worker.signal('SIGCONT');
    await isNotReady(/NOREPLICAS/);
    await client.config('SET', 'min-replicas-to-write', '0');
    await isReady();
    await hasRunAll();
  });

  it('connections that are silent: it is not ready once it has noticed', async () => {
    proxy.blackhole(true);
    await isNotReady(/answer|in time|connect/, 40_000);
    proxy.blackhole(false);
    await isReady(40_000);
    await send(10);
    await hasRunAll();
  });

  it('a task that does not let go of the event loop: it is not live', async () => {
    expect((await ask('/healthz'))[0]).to.equal(200);
    const ids = { id: randomUUID(), tag: randomUUID() };
    await client.lpush('work', buildMessage({ ...ids, task: 'stuck', routingKey: 'work' }).raw);
    await eventually(async () => {
      const answer = await ask('/healthz', 300).catch((err: unknown) => (err as Error).name);
      expect(answer).to.equal('TimeoutError');
    });
  });
});
