/**
 * A BullMQ worker with an empty job, or what puts jobs in front of it, as a process of its own:
 * `bullmq.ts MODULE PORT QUEUE work CONCURRENCY` or `bullmq.ts MODULE PORT QUEUE fill JOBS`.
 */
import { createRequire } from 'node:module';

const [module = '', port = '', queue = '', what = '', count = ''] = process.argv.slice(2);
/** What is used of BullMQ, which is installed apart and so has no types here. */
interface Bullmq {
  Queue: new (name: string, options: object) => { addBulk(jobs: object[]): Promise<unknown>; close(): Promise<void> };
  Worker: new (name: string, work: () => Promise<null>, options: object) => unknown;
}
const { Queue, Worker } = createRequire(import.meta.url)(module) as Bullmq;
const connection = { host: '127.0.0.1', port: Number(port) };

if (what === 'work') {
  // Completed jobs are deleted, as an acknowledged Celery message is.
  new Worker(queue, () => Promise.resolve(null), {
    connection,
    concurrency: Number(count),
    removeOnComplete: { count: 0 },
  });
} else {
  const jobs = new Queue(queue, { connection });
  for (let left = Number(count); left > 0; left -= 1_000) {
    await jobs.addBulk(Array.from({ length: Math.min(1_000, left) }, () => ({ name: 'noop', data: {} })));
  }
  await jobs.close();
}
