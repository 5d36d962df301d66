// What is seen from outside while a set-up runs: the status that Muster writes, and what the tasks noted in Redis. Each
// comes from one kubectl that runs all the time: starting one every second would take the processor from the tasks.
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { inNamespace } from './install.ts';
import type { TaskNote } from './results.ts';
import type { Target } from './target.ts';
import type { Follower } from './tools.ts';

const poolSchema = z.object({
  name: z.string(),
  status: z.object({
    readyReplicas: z.number().optional(),
    desiredReplicas: z.number().optional(),
    tasks: z
      .object({ waiting: z.number().optional(), running: z.number().optional(), held: z.number().optional() })
      .optional(),
    conditions: z
      .array(z.object({ type: z.string(), status: z.string(), reason: z.string(), message: z.string() }))
      .optional(),
  }),
});

/** A pool as `kubectl get workerpool` shows it. What Muster does not know is absent. */
export type PoolView = z.infer<typeof poolSchema>;

/** Something that goes on until it is stopped. */
interface Running {
  stop(): Promise<void>;
}

/** Knows the pools of the namespace. */
export interface PoolsView extends Running {
  /** The pool as it was written last; without numbers when nothing was heard of it. */
  get(name: string): PoolView;
}

/** Follows the pools of the namespace. */
export function watchPools({ tools, namespace }: Target): PoolsView {
  const pools = new Map<string, PoolView>();
  const columns = 'jsonpath={"{"}"name":"{.metadata.name}","status":{.status}{"}\\n"}';
  const watching = keepRunning(() => {
    const child = tools.follow(inNamespace(namespace, 'get', 'workerpools', '--watch', '--output', columns));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const pool = parseLine(line);
      if (pool !== undefined) pools.set(pool.name, pool);
    });
    return child;
  });
  return { get: (name) => pools.get(name) ?? { name, status: {} }, stop: () => watching.stop() };
}

/** Undefined for a pool that has no status yet, whose line is no JSON. */
function parseLine(line: string): PoolView | undefined {
  try {
    return poolSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** Reads Redis in the cluster through a port on this machine. */
export interface RedisView extends Running {
  /** Rejects while there is no connection; the next call may succeed. */
  read(runId: string): Promise<RunProgress>;
}

/** How far a set-up has come. */
export interface RunProgress {
  /** Undefined until the first task is sent. */
  readonly celery: string | undefined;
  readonly sent: number;
  /** Notes of all tasks that are done, of earlier calls too. */
  readonly notes: readonly TaskNote[];
}

/** Opens a way to the Redis of the namespace, and opens it again whenever it breaks. */
export function openRedis({ tools, namespace }: Target): RedisView {
  let redis: Redis | undefined;
  const notesOf = new Map<string, TaskNote[]>();
  const forwarding = keepRunning(() => {
    const child = tools.follow(inNamespace(namespace, 'port-forward', 'service/redis', ':6379'));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port === undefined) return;
      redis?.disconnect();
      redis = new Redis(Number(port), '127.0.0.1', { maxRetriesPerRequest: 0, connectTimeout: 2_000 });
      // Without a listener every failed attempt to connect would be printed.
      redis.on('error', () => undefined);
    });
    return child;
  });
  return {
    async read(runId) {
      if (redis === undefined) throw new Error('there is no way to Redis yet');
      const notes = notesOf.get(runId) ?? [];
      notesOf.set(runId, notes);
      const about = await redis.hgetall(`demo:${runId}:about`);
      const fresh = await redis.lrange(`demo:${runId}:done`, notes.length, -1);
      notes.push(...fresh.map((text) => JSON.parse(text) as TaskNote));
      return { celery: about['celery'], sent: Number(about['sent'] ?? 0), notes };
    },
    async stop() {
      redis?.disconnect();
      await forwarding.stop();
    },
  };
}

/** Starts a program again whenever it ends, until it is stopped. */
function keepRunning(start: () => Follower): Running {
  const stopped = new AbortController();
  let follower = start();
  const loop = async () => {
    for (;;) {
      await follower.ended;
      if (stopped.signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, 500));
      follower = start();
    }
  };
  const ended = loop();
  return {
    async stop() {
      stopped.abort();
      follower.kill();
      await ended;
    },
  };
}
