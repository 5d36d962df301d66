/** The workers that are compared: how each is started, and how tasks are put in front of it. All run an empty task. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Redis } from 'ioredis';
import { cacheDir, makeOnce } from '../../install/cacheDir.ts';
import { sayOnStderr as say } from '../../install/progress.ts';
import { ensureCelery } from '../../../test/support/celery.ts';
import { buildMessage } from '../../../worker/protocol/message.ts';

/** A worker and its queue. */
export interface Subject {
  /** The command of the worker process. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** The list in which tasks wait. */
  readonly list: string;
  /** Puts that many tasks into the queue. */
  fill(redis: Redis, tasks: number): Promise<void>;
}

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const queue = 'bench';
/** Sent in one round trip while a queue is filled. */
const chunk = 1_000;

/** Fills a Celery queue with messages such as a Celery client sends. */
async function fillCelery(redis: Redis, tasks: number): Promise<void> {
  for (let done = 0; done < tasks; done += chunk) {
    const some = Array.from({ length: Math.min(chunk, tasks - done) }, () => {
      const outgoing = {
        task: 'bench.noop',
        id: randomUUID(),
        tag: randomUUID(),
        routingKey: queue,
        origin: 'gen1@bench',
      };
      return buildMessage(outgoing).raw;
    });
    await redis.lpush(queue, ...some);
  }
}

/** Muster's Node worker from the bundle that users get. */
export function muster(port: number, flags: readonly string[]): Subject {
  const fixed = [
    '--tasks',
    here('../../../dist/bench-tasks.mjs'),
    '--queues',
    queue,
    '--log-level',
    'warn',
    '--ack',
    'late',
  ];
  return {
    command: [
      process.execPath,
      here('../../../dist/worker/main.mjs'),
      ...fixed,
      '--broker',
      `redis://127.0.0.1:${port}/0`,
      ...flags,
    ],
    env: { NODE_OPTIONS: '' },
    list: queue,
    fill: fillCelery,
  };
}

/** One Celery prefork process. */
export async function celery(port: number): Promise<Subject> {
  const { bin } = await ensureCelery('5.6.3');
  const options = [
    '--pool',
    'prefork',
    '--concurrency',
    '1',
    '--loglevel',
    'ERROR',
    '--without-gossip',
    '--without-mingle',
  ];
  return {
    command: [`${bin}/celery`, '--app', 'celery_app', 'worker', '--queues', queue, ...options],
    env: { BENCH_BROKER: `redis://127.0.0.1:${port}/0`, PYTHONPATH: here('.'), PYTHONDONTWRITEBYTECODE: '1' },
    list: queue,
    fill: fillCelery,
  };
}

/** What is measured against. Kept out of package.json: its native parts are not to be had for every platform. */
const bullmqVersion = '6.7.0';

/** Installs BullMQ into the cache, unless it is there; gives the path of its module. */
async function ensureBullmq(): Promise<string> {
  const dir = join(cacheDir(), 'bullmq', bullmqVersion);
  const module = join(dir, 'node_modules', 'bullmq', 'dist', 'cjs', 'index.js');
  await makeOnce(module, async () => {
    say(`installing BullMQ ${bullmqVersion} (once, about 10 s)`);
    await mkdir(dir, { recursive: true });
    const options = ['--prefix', dir, '--omit', 'optional', '--no-audit', '--no-fund', '--no-package-lock'];
    await execa('npm', ['install', ...options, `bullmq@${bullmqVersion}`, 'ioredis@5']);
  });
  return module;
}

/** A BullMQ worker. */
export async function bullmq(port: number, concurrency: number): Promise<Subject> {
  const command = [
    process.execPath,
    '--import=tsx',
    here('bullmq.ts'),
    await ensureBullmq(),
    String(port),
    queue,
  ] as const;
  return {
    command: [...command, 'work', String(concurrency)],
    env: { NODE_OPTIONS: '' },
    list: `bull:${queue}:wait`,
    async fill(_redis, tasks) {
      const [node, ...args] = command;
      await execa(node, [...args, 'fill', String(tasks)]);
    },
  };
}
