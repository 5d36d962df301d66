// One set-up from its WorkerPools to the notes of its tasks: apply, wait for the pods, feed, show, collect.
import { applyManifest, inNamespace } from './install.ts';
import { deleteProducer, producerFailure, startProducer } from './producer.ts';
import type { TaskNote } from './results.ts';
import type { Screen } from './screen.ts';
import { podsOf, type Load, type SetUp } from './setUps.ts';
import type { Target, TargetDeps } from './target.ts';
import { ToolError } from './tools.ts';
import { liveLines, plainLine, type LiveState } from './view.ts';
import type { PoolsView, RedisView, RunProgress } from './watch.ts';

const REDRAW_MS = 250;
const READ_MS = 1_000;
// A pull that failed is tried again after 10 s, and a pod may find room when another one has gone.
const PROBLEM_PATIENCE_MS = 30_000;
const PODS_TIMEOUT_MS = 180_000;
const START_TIMEOUT_SECONDS = 150;
const PLAIN_LINE_MS = 5_000;
// From the first task sent. What is left after the last one is sent takes seconds when the slots keep up.
const PATIENCE_AFTER_FEEDING_SECONDS = 60;

/** What measuring needs. */
export interface MeasureDeps extends TargetDeps {
  readonly screen: Screen;
  readonly redis: RedisView;
  readonly pools: PoolsView;
}

/** What came of one set-up. */
export interface Measured {
  readonly notes: readonly TaskNote[];
  /** The version of Celery in the application's image. */
  readonly celery: string;
}

/** Runs one set-up. Its pools are there afterwards. Rejects with ToolError when not every task was done. */
export async function measure(deps: MeasureDeps, target: Target, setUp: SetUp, load: Load): Promise<Measured> {
  const { steps } = deps;
  await steps.run(`${poolsInWords(setUp)}: ${podsOf(setUp)} pods ready`, 10, async () => {
    await applyManifest(target, setUp.manifest, { appImage: target.images.app });
    for (const [name, pods] of Object.entries(setUp.pools)) await waitForPods(deps, name, pods);
  });
  await steps.run('producer, and every worker warm', 10, async () => {
    await startProducer(target, setUp, load);
    await waitForFirstTask(deps, target, setUp);
  });
  const measured = await follow(deps, target, setUp, load);
  await deleteProducer(target, setUp);
  return measured;
}

/** Removes the pools of a set-up and waits until their pods are gone, so that the next one has the machine to itself. */
export async function removePools({ steps }: MeasureDeps, { tools, namespace }: Target, setUp: SetUp): Promise<void> {
  const names = Object.keys(setUp.pools);
  await steps.run(`${poolsInWords(setUp)} deleted, all pods gone`, 6, async () => {
    await tools.kubectl(inNamespace(namespace, 'delete', 'workerpool', ...names));
    const selector = `muster.dev/pool in (${names.join(',')})`;
    await tools.kubectl(inNamespace(namespace, 'wait', '--for=delete', 'pod', '--selector', selector, '--timeout=60s'));
  });
}

/** Waits until a pool has its pods. A problem that Muster names and that stays is not waited out. */
async function waitForPods({ pools, signal }: MeasureDeps, name: string, pods: number): Promise<void> {
  let problemSinceMs: number | undefined;
  for (const deadlineMs = performance.now() + PODS_TIMEOUT_MS; performance.now() < deadlineMs;) {
    signal.throwIfAborted();
    const { readyReplicas, conditions } = pools.get(name).status;
    if (readyReplicas === pods) return;
    const ready = conditions?.find(({ type }) => type === 'Ready');
    const isProblem = ready?.status === 'False' && ready.reason !== 'Starting';
    problemSinceMs = isProblem ? (problemSinceMs ?? performance.now()) : undefined;
    if (problemSinceMs !== undefined && performance.now() - problemSinceMs > PROBLEM_PATIENCE_MS) {
      throw new ToolError(`WorkerPool ${name} does not get ready: ${ready?.message ?? ''}`);
    }
    await pause(200);
  }
  throw new ToolError(`WorkerPool ${name} has no ${pods} ready pods after ${PODS_TIMEOUT_MS / 1000} s`);
}

/** The producer waits for the workers, and gives up, by itself; a pod that does not even start is given up here. */
async function waitForFirstTask({ signal, redis }: MeasureDeps, target: Target, setUp: SetUp): Promise<void> {
  for (let second = 0; second < START_TIMEOUT_SECONDS; second++) {
    signal.throwIfAborted();
    const progress = await redis.read(setUp.id).catch(() => undefined);
    if (progress?.celery !== undefined) return;
    // Not every second: this starts a program, and the workers are being warmed up.
    const failure = second % 10 === 9 ? await producerFailure(target, setUp) : undefined;
    if (failure !== undefined) throw new ToolError(failure);
    await pause(READ_MS);
  }
  throw new ToolError(`the producer has sent nothing after ${START_TIMEOUT_SECONDS} s`);
}

/** Shows the run until its last task is done. */
async function follow(deps: MeasureDeps, target: Target, setUp: SetUp, load: Load): Promise<Measured> {
  const { screen, redis, pools, signal } = deps;
  let progress: RunProgress = { celery: undefined, sent: 0, notes: [] };
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  const state = (): LiveState => ({
    ...{
      seconds: seconds(),
      ofSeconds: load.seconds + 4,
      tasks: load.tasks,
      sent: progress.sent,
      notes: progress.notes,
    },
    pools: Object.keys(setUp.pools).map((name) => pools.get(name)),
  });
  const redraw = setInterval(() => screen.redraw(liveLines(state())), REDRAW_MS);
  const plain = setInterval(() => {
    if (!screen.isLive) screen.line(plainLine(state()));
  }, PLAIN_LINE_MS);
  try {
    while (progress.notes.length < load.tasks) {
      signal.throwIfAborted();
      if (seconds() > load.seconds + PATIENCE_AFTER_FEEDING_SECONDS) {
        const why = (await producerFailure(target, setUp)) ?? 'the slots did not keep up with the load';
        throw new ToolError(`only ${progress.notes.length} of ${load.tasks} tasks were done: ${why}`);
      }
      await pause(READ_MS);
      // A reading that fails is left out; the next one brings what was missed.
      progress = await redis.read(setUp.id).catch(() => progress);
    }
    const last = state();
    for (const line of screen.isLive ? liveLines(last).slice(0, 2) : [plainLine(last)]) screen.line(line);
    return { notes: progress.notes, celery: progress.celery ?? 'unknown' };
  } finally {
    clearInterval(redraw);
    clearInterval(plain);
  }
}

function poolsInWords({ pools }: SetUp): string {
  const names = Object.keys(pools);
  return `WorkerPool${names.length === 1 ? '' : 's'} ${names.join(' and ')}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
