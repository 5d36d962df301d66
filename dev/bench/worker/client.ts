/** Measures `client.send`: as a process of its own, because the parent measures its CPU time. `client.ts PORT TASKS`. */
import { createClient } from '../../../worker/index.ts';

const [port = '', tasks = ''] = process.argv.slice(2);
const client = createClient({ broker: `redis://127.0.0.1:${port}/0`, defaultQueue: 'bench' });
/** Sent at a time, as a program with much to send does. */
const batch = 1_000;

const send = async (count: number): Promise<void> => {
  for (let done = 0; done < count; done += batch) {
    await Promise.all(Array.from({ length: batch }, (_, place) => client.send('bench.noop', [place])));
  }
};
await send(5_000); // warm
const [startMs, startCpu] = [performance.now(), process.cpuUsage()];
await send(Number(tasks));
const seconds = (performance.now() - startMs) / 1000;
const { user, system } = process.cpuUsage(startCpu);
console.log(
  JSON.stringify({
    name: 'client.send, 1,000 at a time',
    tasksPerSecond: Math.round(Number(tasks) / seconds),
    cpuMicrosPerTask: Math.round(((user + system) / Number(tasks)) * 10) / 10,
    rssMb: Math.round(process.memoryUsage.rss() / 1e5) / 10,
  }),
);
await client.close();
