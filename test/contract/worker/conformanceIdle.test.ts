/** A worker that has nothing to do: it asks nothing, and is woken by Redis. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { eventually } from '../../support/eventually.ts';
import { startNodeWorker } from '../../support/inProcessWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';
import { createSteppedClock, type SteppedClock } from '../../support/steppedClock.ts';

describe('a Node worker that waits', function () {
  this.timeout(30_000);
  let redis: RedisServer;
  let client: Redis;
  let clock: SteppedClock;
  let worker: Worker | undefined;
  const ran: string[] = [];

  beforeEach(() => {
    ran.length = 0;
    clock = createSteppedClock();
  });
  afterEach(async () => {
    await worker?.stop(AbortSignal.timeout(1_000));
    worker = undefined;
    await redis.stop();
  });

  const start = async (url: string, ...flags: string[]): Promise<void> => {
    const note = task('note', {}, (_ctx, name: string) => void ran.push(name));
    // Nothing that is done by time happens unless the test moves the clock.
    worker = startNodeWorker(url, [note], ['--backend', 'none', ...flags], clock);
    await eventually(() => worker?.consumer.state().kind === 'open');
  };
  const send = (name: string, queue: string, priority = 0): Promise<number> => {
    const list = priority === 0 ? queue : `${queue}\u0006\u0016${priority}`;
    const ids = { id: randomUUID(), tag: randomUUID() };
    return client.lpush(list, buildMessage({ ...ids, task: 'note', args: [name], routingKey: queue, priority }).raw);
  };
  const hasRun = (...names: string[]): Promise<unknown> =>
    eventually(() => expect(ran).to.deep.equal(names), { timeoutMs: 5_000 });
  /** Commands that Redis has run, those of this test aside. */
  const calls = async (): Promise<number> => {
    const stats = await client.info('commandstats');
    const found = [...stats.matchAll(/cmdstat_([\w|]+):calls=(\d+)/g)];
    return found.filter(([, name]) => name !== 'info').reduce((sum, [, , count]) => sum + Number(count), 0);
  };

  const script = async (): Promise<number> =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
  /** How often it asked, once it has nothing more to say. */
  const isQuiet = (): Promise<number> =>
    eventually(async () => {
      const before = await calls();
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(await calls()).to.equal(before);
      return script();
    });

  it('is woken for every queue and priority, one after the other, while no time passes', async () => {
    redis = await startRedis();
    client = redis.client();
    await start(`${redis.url}/0`, '--queues', 'a,b');
    await isQuiet();
    const sent: string[] = [];
    for (const [queue, priority] of [
      ['a', 0],
      ['b', 9],
      ['a', 3],
      ['b', 0],
      ['a', 6],
      ['b', 0],
      ['a', 0],
    ] as const) {
      await send(`${queue}${priority}`, queue, priority);
      sent.push(`${queue}${priority}`);
      await hasRun(...sent);
      // So that it is not the end of this task that makes it look for the next one.
      await isQuiet();
    }
  });

  it('is woken neither by what other workers do nor by itself', async () => {
    redis = await startRedis();
    client = redis.client();
    await start(`${redis.url}/0`, '--queues', 'a', '--ack', 'late');
    const before = await isQuiet();
    for (let number = 0; number < 20; number += 1) {
      await client.hset('unacked', `tag-${number}`, '[{}, "", "b"]');
      await client.zadd('unacked_index', 1, `tag-${number}`);
      await client.lpush('b', '{}');
    }
    expect(await isQuiet()).to.equal(before);
    await send('1', 'a');
    await hasRun('1');
    // It takes the message, and acknowledges it.
    expect((await isQuiet()) - before).to.equal(2);
  });

  it('asks for no message while there is none', async () => {
    redis = await startRedis();
    client = redis.client();
    await start(`${redis.url}/0`, '--queues', 'a');
    await send('1', 'a');
    await hasRun('1');
    const before = await isQuiet();
    // Four seconds: a poller would have asked.
    for (let step = 0; step < 40; step += 1) await clock.step(100);
    expect(await isQuiet()).to.equal(before);
    await send('2', 'a');
    await hasRun('1', '2');
  });

  it('that may not be told by Redis looks for itself, once a second', async () => {
    redis = await startRedis({ users: ['poor on >pw ~* &* +@all -client|tracking'] });
    client = redis.client();
    await start(redis.url.replace('//', '//poor:pw@').concat('/0'), '--queues', 'a');
    expect(worker?.consumer.state()).to.deep.equal({ kind: 'open', announces: false });
    await isQuiet();
    await send('1', 'a');
    await isQuiet();
    expect(ran).to.deep.equal([]);
    await clock.step(1_000);
    await hasRun('1');
  });
});
