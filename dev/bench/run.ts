/** The course of a run: one pool, then all of them, idle, woken, and restarted. */
import type { Say } from '../install/progress.ts';
import { measureIdle } from './idle.ts';
import { writesOf } from './metrics.ts';
import { copyBundle, startOperator, type OperatorOptions } from './operatorProcess.ts';
import { createNamespaces, createPools, namePools, untilAllAtZero, type Pool } from './pools.ts';
import { reactAtOnce, reactInTurn, reactOnePool, reactWhileRunning } from './reaction.ts';
import { measureStart, untilAllSeen, untilQuiet, type StartTimes } from './restart.ts';
import type { Results } from './results.ts';
import { startStage, type Stage } from './stage.ts';
import { spreadOf } from './statistics.ts';

/** What to measure. */
export interface RunOptions {
  readonly pools: number;
  readonly namespaces: number;
  readonly idleSeconds: number;
  readonly samples: number;
  readonly bundleMiB: number;
  readonly profile?: string;
}

/** How many pools get a task in the same moment, run while being measured, or have a task waiting at a start. */
const groups = { atOnce: 100, running: 30, waiting: 20 } as const;
const starts = 3;

/** Runs it all on parts of its own, which it ends again whatever happens. */
export async function run(options: RunOptions, say: Say): Promise<Results> {
  const stage = await startStage();
  try {
    return await measure(stage, options, say);
  } finally {
    await stage.stop();
  }
}

async function measure(stage: Stage, options: RunOptions, say: Say): Promise<Results> {
  const pools = namePools(options.pools, options.namespaces);
  const [first] = pools;
  if (first === undefined) throw new Error('there is no pool to measure');
  const operatorOptions: OperatorOptions = {
    kubeconfigPath: stage.kubeconfigPath,
    bundlePath: await copyBundle(stage.dir),
    dir: stage.dir,
    profileDir: options.profile,
  };
  const oneIn = (count: number): readonly Pool[] => shuffle(pools).slice(0, count);

  await createNamespaces(stage, pools);
  let operator = await startOperator(operatorOptions);
  await createPools(stage, [first]);
  await untilAllSeen(operator, 1);
  say('1 pool: from zero, again and again (2 min)');
  const oneFromZero = await reactOnePool(stage, first, Math.ceil(options.samples / 5));
  say('1 pool: running and busy');
  const oneRunning = await reactWhileRunning(stage, [first], 10);

  say(`creating ${options.pools} pools in ${options.namespaces} namespaces`);
  const writesBefore = writesOf((await operator.metrics()) ?? '');
  const startMs = performance.now();
  const sinceStart = (): number => (performance.now() - startMs) / 1000;
  await createPools(stage, pools.slice(1));
  const appliedSeconds = sinceStart();
  await untilAllAtZero(stage, pools, 600_000);
  await untilAllSeen(operator, pools.length);
  const settledSeconds = sinceStart();
  await untilQuiet(operator);
  const writes = writesOf((await operator.metrics()) ?? '') - writesBefore;
  const creation = { appliedSeconds, settledSeconds, writesPerPool: writes / Math.max(1, pools.length - 1) };

  say(`idle for ${options.idleSeconds} s`);
  const idle = await measureIdle(stage, operator, options.idleSeconds, pools.length);
  say(`${options.samples} tasks for pools at zero, in turn`);
  const allFromZero = await reactInTurn(stage, oneIn(options.samples), 150);
  await untilQuiet(operator);
  say(`a task for each of ${groups.atOnce} pools at once`);
  const atOnce = await reactAtOnce(stage, oneIn(groups.atOnce));
  await untilQuiet(operator);
  say(`${groups.running} running and busy pools`);
  const allRunning = await reactWhileRunning(stage, oneIn(groups.running), 4);
  await untilQuiet(operator);

  const times: StartTimes[] = [];
  for (let start = 1; start <= starts; start += 1) {
    say(`start ${start} of ${starts}`);
    await operator.stop();
    const started = await measureStart(stage, operatorOptions, pools.length, oneIn(groups.waiting));
    operator = started.operator;
    times.push(started.times);
    await untilQuiet(operator);
  }
  say(`idle for ${options.idleSeconds} s`);
  const idleAfterStart = await measureIdle(stage, operator, options.idleSeconds, pools.length);
  await operator.stop();
  return {
    pools: options.pools,
    namespaces: options.namespaces,
    bundleMiB: options.bundleMiB,
    reactionSeconds: {
      onePool: { fromZero: spreadOf(oneFromZero), running: spreadOf(oneRunning) },
      allPools: { fromZero: spreadOf(allFromZero), running: spreadOf(allRunning), atOnce: spreadOf(atOnce) },
    },
    creation,
    idle,
    starts: times,
    idleAfterStart,
  };
}

function shuffle<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}
