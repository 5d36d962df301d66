/** What a Node worker shows of its tasks: metrics with bounded labels, logs with names and ids, arguments only when asked. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import getPort from 'get-port';
import type { Redis } from 'ioredis';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { makeGate, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { runWorker, startTaskWorker, tasksFile, type TaskWorker } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const secret = 'hunter2-is-secret';

describe('what a Node worker shows of its tasks', function () {
  this.timeout(30_000);
  let redis: RedisServer;
  let client: Redis;
  let gate: Gate;
  let worker: TaskWorker | undefined;
  let port: number;

  beforeEach(async () => {
    redis = await startRedis();
    client = redis.client();
    gate = await makeGate();
    port = await getPort({ host: '127.0.0.1' });
  });
  afterEach(async () => {
    await worker?.kill();
    worker = undefined;
    await gate.remove();
    await redis.stop();
  });

  const send = async (task: string, args: readonly unknown[] = [], expires?: number): Promise<string> => {
    const id = randomUUID();
    const more = { kwargs: { password: secret }, ...(expires === undefined ? {} : { expires }) };
    await client.lpush('work', buildMessage({ task, args, id, tag: randomUUID(), routingKey: 'work', ...more }).raw);
    return id;
  };
  const isSettled = (): Promise<unknown> =>
    eventually(async () => expect([await client.llen('work'), await client.hlen('unacked')]).to.deep.equal([0, 0]));
  const metrics = async (): Promise<string[]> =>
    (await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).split('\n');

  it('metrics by task and outcome; a name that is not registered makes no series', async () => {
    worker = await startTaskWorker(redis.url, gate.dir, { concurrency: 2, ack: 'late', port });
    for (let number = 0; number < 3; number += 1) await send('node.add', [number, 1]);
    await send('node.fail', ['no']);
    await send('made.up');
    await send('node.add', [1, 1], Date.now() - 1_000);
    await client.lpush('work', 'no message');
    await send('node.gated', ['a']);
    await eventually(async () =>
      expect(await metrics()).to.include.members([
        'muster_worker_tasks_total{task="node.add",state="SUCCESS"} 3',
        'muster_worker_tasks_total{task="node.fail",state="FAILURE"} 1',
        'muster_worker_messages_dropped_total{reason="unknown"} 1',
        'muster_worker_messages_dropped_total{reason="expired"} 1',
        'muster_worker_messages_dropped_total{reason="malformed"} 1',
        'muster_worker_task_run_seconds_count{task="node.add"} 3',
        'muster_worker_task_wait_seconds_count{task="node.add"} 3',
        'muster_worker_running_tasks 1',
        'muster_worker_slots 2',
        'muster_worker_broker_up 1',
      ]),
    );
    expect((await metrics()).filter((line) => line.includes('made.up'))).to.deep.equal([]);
    await gate.open();
    await eventually(async () => expect(await metrics()).to.include('muster_worker_running_tasks 0'));
  });

  for (const asked of [false, true]) {
    it(`logs with name and id of each task, ${asked ? 'and its arguments, as asked' : 'and never an argument'}`, async () => {
      const flags = { broker: redis.url, queues: 'work', tasks: tasksFile, ack: 'late', 'log-level': 'debug' };
      const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
      const running = runWorker(asked ? [...args, '--log-args'] : args, { GATE_DIR: gate.dir });
      worker = running;
      const ids = {
        good: await send('node.echo', [secret]),
        bad: await send('node.pair', [secret]),
        unknown: await send('made.up', [secret]),
        expired: await send('node.echo', [secret], Date.now() - 1_000),
      };
      await isSettled();
      await eventually(() => {
        const lines = running.output().split('\n');
        for (const [name, id] of Object.entries(ids)) {
          const line = lines.find((text) => text.includes(id)) ?? 'no line';
          expect(line, name).to.match(/"task":"(node\.echo|node\.pair|made\.up)"/);
        }
      });
      if (asked) expect(running.output()).to.contain(secret);
      else expect(running.output()).not.to.contain(secret);
    });
  }
});
