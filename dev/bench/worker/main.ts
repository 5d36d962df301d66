/**
 * `npm run bench:worker`: how many empty tasks a second the Node worker runs, against BullMQ and Celery on the same Redis in
 * the same run. Nothing is asserted by time: the exit code says whether everything worked, the table how well.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { build } from 'esbuild';
import { execa } from 'execa';
import { startRedisProxy } from '../../../test/support/redisProxy.ts';
import { startRedis } from '../../../test/support/redisServer.ts';
import { runMain, sayOnStderr as say } from '../../install/progress.ts';
import { formatTable } from '../report.ts';
import { measure, type Row } from './measure.ts';
import { bullmq, celery, muster, type Subject } from './subjects.ts';
import { tableOf } from './table.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** The added round trip of the slow row, half of it each way (ms). */
const roundTripMs = 2;

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 5_000)
    throw new InvalidArgumentError('a whole number from 5,000 on is needed.');
  return value;
};

const program = new Command('bench:worker')
  .description('Measures the Node worker against BullMQ and Celery, with empty tasks. 6 minutes.')
  .option('--tasks <n>', 'tasks of each fast row', count, 200_000)
  .option('--soak-tasks <n>', 'tasks of the row that shows whether memory grows; 0 leaves it out', Number, 2_000_000)
  .option('--json', 'prints everything as one JSON object on the last line', false);

await runMain(async () => {
  await program.parseAsync();
  const { tasks, soakTasks, json } = program.opts<{ tasks: number; soakTasks: number; json: boolean }>();
  say('bundling the worker');
  await execa(process.execPath, ['--import=tsx', 'dev/build.ts'], { cwd: root });
  await build({
    ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20', absWorkingDir: root },
    ...{ entryPoints: ['dev/bench/worker/tasks.ts'], outfile: 'dist/bench-tasks.mjs', logLevel: 'warning' },
    // Only the definition of a task is needed of the package.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  });
  const server = await startRedis();
  const proxy = await startRedisProxy(server.port);
  const dir = await mkdtemp(join(tmpdir(), 'muster-bench-worker-'));
  const redis = server.client();
  const rows: Row[] = [];
  const add = async (name: string, subject: Subject, some = tasks): Promise<void> => {
    say(name);
    rows.push(await measure(name, subject, { redis, tasks: some, dir }));
  };
  try {
    const noResults = ['--backend', 'none'];
    const prefetch = (slots: number, multiplier: number): string[] => [
      '--concurrency',
      String(slots),
      '--prefetch',
      String(multiplier),
    ];
    await add('muster, prefetch 16', muster(server.port, [...noResults, ...prefetch(8, 2)]));
    await add('muster, prefetch 1', muster(server.port, [...noResults, ...prefetch(1, 1)]), tasks / 4);
    await add('muster, prefetch 2,048', muster(server.port, [...noResults, ...prefetch(1024, 2)]));
    // Both through the proxy, which itself costs a part of a core: what differs is the way.
    proxy.delay(0);
    await add('muster, prefetch 2,048, proxy', muster(proxy.port, [...noResults, ...prefetch(1024, 2)]));
    proxy.delay(roundTripMs / 2);
    await add('muster, prefetch 2,048, proxy 2 ms away', muster(proxy.port, [...noResults, ...prefetch(1024, 2)]));
    await add('muster, prefetch 16, with results', muster(server.port, prefetch(8, 2)), tasks / 2);
    if (soakTasks > 0)
      await add('muster, prefetch 16, soak', muster(server.port, [...noResults, ...prefetch(8, 2)]), soakTasks);
    for (const concurrency of [50, 100, 200]) {
      await add(`BullMQ, concurrency ${concurrency}`, await bullmq(server.port, concurrency), tasks / 4);
    }
    await add('Celery, one prefork process, prefetch 16', await celery(server.port), Math.max(5_000, tasks / 20));
    say('client.send');
    await redis.flushall();
    const sender = fileURLToPath(new URL('client.ts', import.meta.url));
    const { stdout } = await execa(process.execPath, ['--import=tsx', sender, String(server.port), String(tasks)]);
    rows.push(JSON.parse(stdout) as Row);
  } finally {
    redis.disconnect();
    await proxy.close();
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
  console.log(formatTable(tableOf(rows)));
  if (json) console.log(JSON.stringify({ rows }));
});
