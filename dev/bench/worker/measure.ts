/** Measures one worker: from the moment it has warmed up until its queue is nearly empty. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { startProgram } from '../../cluster/process.ts';
import { commandPath } from '../../install/commandPath.ts';
import { parseCpuSeconds, parseMemory } from '../operatorProcess.ts';
import type { Subject } from './subjects.ts';

/** What one worker did. */
export interface Row {
  readonly name: string;
  readonly tasksPerSecond: number;
  /** CPU time of the process and those that it started, in millionths of a second. */
  readonly cpuMicrosPerTask: number;
  /** Memory at the end, of the process and those that it started. */
  readonly rssMb: number;
  /** The same when it had warmed up. */
  readonly warmRssMb?: number;
}

/** How long nothing may happen before a worker counts as broken (ms). */
const patienceMs = 60_000;

/** Fills the queue, runs the worker until the queue is nearly empty, ends it. */
export async function measure(
  name: string,
  subject: Subject,
  options: { readonly redis: Redis; readonly tasks: number; readonly dir: string },
): Promise<Row> {
  const { redis, tasks, dir } = options;
  await redis.flushall();
  await subject.fill(redis, tasks);
  // One core is what every worker gets, whatever its helper threads could do on a second one.
  const pinned = availableParallelism() > 1 && (await commandPath('taskset')) !== undefined;
  const [command, ...args] = pinned ? (['taskset', '--cpu-list', '1', ...subject.command] as const) : subject.command;
  const logPath = join(dir, `${name.replaceAll(/\W+/g, '-')}.log`);
  const program = await startProgram({ command, args, logPath, env: subject.env, outlivesParent: false });
  try {
    const waiting = async (): Promise<number> => redis.llen(subject.list);
    const until = async (most: number): Promise<void> => {
      let since = performance.now();
      let before = Infinity;
      for (let left = await waiting(); left > most; left = await waiting()) {
        if (left < before) [before, since] = [left, performance.now()];
        if (!program.isRunning() || performance.now() - since > patienceMs) {
          throw new Error(`${name} does not work:\n${(await readFile(logPath, 'utf8')).slice(-2000)}`);
        }
        await sleep(10);
      }
    };
    await until(tasks * 0.8); // warm: compiled, connected
    const [fromTasks, fromMs, from] = [await waiting(), performance.now(), await usage(program.pid)];
    await until(tasks * 0.05);
    const [toTasks, toMs, end] = [await waiting(), performance.now(), await usage(program.pid)];
    const done = fromTasks - toTasks;
    return {
      name,
      tasksPerSecond: Math.round((done / (toMs - fromMs)) * 1000),
      cpuMicrosPerTask: Math.round(((end.cpuSeconds - from.cpuSeconds) / done) * 1e7) / 10,
      rssMb: megabytes(end.rssMiB),
      warmRssMb: megabytes(from.rssMiB),
    };
  } finally {
    if (program.isRunning()) process.kill(-program.pid, 'SIGKILL');
    await program.ended();
  }
}

function megabytes(mebibytes: number): number {
  return Math.round((mebibytes * 2 ** 20) / 1e5) / 10;
}

/** CPU time and memory of a process and its children. */
async function usage(pid: number): Promise<{ cpuSeconds: number; rssMiB: number }> {
  const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
  const children = (await read(`/proc/${pid}/task/${pid}/children`)).split(' ').filter((each) => each !== '');
  const all = await Promise.all(
    [String(pid), ...children].map(async (each) => ({
      cpuSeconds: parseCpuSeconds(await read(`/proc/${each}/stat`)),
      rssMiB: parseMemory(await read(`/proc/${each}/status`)).rssMiB,
    })),
  );
  return {
    cpuSeconds: all.reduce((sum, each) => sum + each.cpuSeconds, 0),
    rssMiB: all.reduce((sum, each) => sum + each.rssMiB, 0),
  };
}
