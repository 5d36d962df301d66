/** A BullMQ worker with an empty job, as a process of its own: `bullmq.ts PORT QUEUE CONCURRENCY`. */
import { Worker } from 'bullmq';

const [port = '', queue = '', concurrency = ''] = process.argv.slice(2);
const options = { connection: { host: '127.0.0.1', port: Number(port) }, concurrency: Number(concurrency) };
// Completed jobs are deleted, as an acknowledged Celery message is.
new Worker(queue, () => Promise.resolve(null), { ...options, removeOnComplete: { count: 0 } });
