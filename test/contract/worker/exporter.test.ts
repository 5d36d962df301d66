/** celery-exporter in front of a Node worker: the metrics that dashboards of Celery are made of. */
import { expect } from 'chai';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { ensureCelery, runPython, type Celery } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { makeGates, startNodeWorker, type Gates } from '../../support/inProcessWorker.ts';
import { startExporter, type Monitor } from '../../support/monitors.ts';
import { producerCode } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('a Node worker in celery-exporter', function () {
  this.timeout(60_000);
  let celery: Celery;
  let redis: RedisServer;
  let exporter: Monitor;
  let gates: Gates;
  let worker: Worker;

  before(async function () {
    this.timeout(240_000);
    celery = await ensureCelery('5.7.0');
    redis = await startRedis();
    gates = makeGates();
    exporter = await startExporter(`${redis.url}/0`);
    const tasks = [
      ...gates.tasks,
      task('sum', {}, (_ctx, a: number, b: number) => a + b),
      task('fail', {}, () => {
        throw new RangeError('too far');
      }),
    ];
    const flags = ['--queues', 'work', '--hostname', 'n1@here', '--concurrency', '2', '--events'];
    worker = startNodeWorker(`${redis.url}/0`, tasks, flags);
  });
  after(async () => {
    gates.openAll();
    await exporter.stop();
    await worker.stop(AbortSignal.timeout(1_000));
    await redis.stop();
  });

  /** The values by metric and labels, labels in the order of their names. */
  const scrape = async (): Promise<Record<string, number>> => {
    const lines = (await exporter.get('/metrics')).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return Object.fromEntries(
      lines.map((line) => {
        const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
        return [
          `${name}{${labels
            .split(/,(?=\w+=)/)
            .sort()
            .join(',')}}`,
          Number(value),
        ];
      }),
    );
  };
  const shows = (expected: Readonly<Record<string, number>>): Promise<unknown> =>
    eventually(async () => expect(await scrape()).to.include(expected), { timeoutMs: 20_000, intervalMs: 100 });

  it('is up, with its queue, and its tasks are counted by how they ended', async () => {
    await shows({
      'celery_worker_up{hostname="here"}': 1,
      'celery_active_worker_count{queue_name="work"}': 1,
      'celery_queue_length{queue_name="work"}': 0,
    });
    // Producers that say what they send tell the exporter the queue of each task.
    const sends = `
app.conf.task_send_sent_event = True
for n in range(3): send("sum", (n, 1))
send("fail")
send("gate.wait", ("a",))
for n in range(2): send("gate.wait", ("b",))
send("gate.wait", ("c",), expires=-10)
`;
    await runPython(celery, `${producerCode(redis.url)}${sends}`);
    const labels = (name: string): string => `hostname="here",name="${name}",queue_name="work"`;
    await shows({
      [`celery_task_received_total{${labels('sum')}}`]: 3,
      [`celery_task_started_total{${labels('sum')}}`]: 3,
      [`celery_task_succeeded_total{${labels('sum')}}`]: 3,
      [`celery_task_failed_total{${labels('sum')}}`.replace('{', '{exception="",')]: 0,
      [`celery_task_runtime_count{${labels('sum')}}`]: 3,
      [`celery_task_failed_total{${labels('fail')}}`.replace('{', '{exception="RangeError",')]: 1,
      [`celery_task_started_total{${labels('gate.wait')}}`]: 2,
      'celery_worker_tasks_active{hostname="here"}': 2,
      // The default prefetch takes only what it can run.
      'celery_queue_length{queue_name="work"}': 2,
    });
    gates.openAll();
    await shows({
      [`celery_task_succeeded_total{${labels('gate.wait')}}`]: 3,
      [`celery_task_revoked_total{${labels('gate.wait')}}`]: 1,
      'celery_worker_tasks_active{hostname="here"}': 0,
      'celery_queue_length{queue_name="work"}': 0,
    });
  });

  it('is down once it has ended', async () => {
    await worker.stop(AbortSignal.timeout(1_000));
    await shows({ 'celery_worker_up{hostname="here"}': 0 });
  });
});
