// The order of things: a cluster, the operator, Redis, one set-up, the other, the comparison, and the end of it all.
import pc from 'picocolors';
import { installOperator, installRedis } from './install.ts';
import { measure, removePools } from './measure.ts';
import type { DemoOptions } from './options.ts';
import { prepareOwnCluster } from './ownCluster.ts';
import { closingLines, reportLines, type Report } from './report.ts';
import { summarise } from './results.ts';
import type { Screen } from './screen.ts';
import { loadFor, ONE_POOL, TWO_POOLS, type Load } from './setUps.ts';
import { createSteps } from './steps.ts';
import type { Stop } from './stop.ts';
import type { Target, TargetDeps } from './target.ts';
import { prepareUsersCluster } from './usersCluster.ts';
import { openRedis, watchPools } from './watch.ts';

interface Undo {
  readonly title: string;
  readonly undo: () => Promise<void>;
}

/** Runs the whole demo and resolves to its numbers. Everything is taken down when it returns or rejects, unless `keep` is set. */
export async function runDemo(options: DemoOptions, screen: Screen, stop: Stop): Promise<Report> {
  const { signal } = stop;
  const steps = await createSteps(screen, signal);
  const undos: Undo[] = [];
  const deps: TargetDeps = {
    steps,
    signal,
    atEnd: (title, undo, hint) => {
      undos.unshift({ title, undo });
      stop.leaves(hint);
    },
  };
  const { context, keep } = options;
  const load = loadFor(options.seconds);
  print(screen, introduction(load));
  try {
    heading(screen, 'Setting up');
    const target = await (context === undefined
      ? prepareOwnCluster(deps)
      : prepareUsersCluster(deps, { ...options, context }));
    await installOperator(deps, target);
    await installRedis(deps, target);
    const report = await compare(deps, screen, target, load);
    print(screen, ['', ...reportLines(report), '']);
    const stays = keep || undos.length === 0;
    const { namespace, operator, look } = target;
    print(screen, [...closingLines({ ...look, stays, namespace, operator }), '']);
    return report;
  } finally {
    // Who interrupts the run wants it gone; after an error there may be something to look at.
    if (!keep || signal.aborted) await takeDown(screen, undos);
  }
}

async function compare(deps: TargetDeps, screen: Screen, target: Target, load: Load): Promise<Report> {
  const kubernetes = await readKubernetesVersion(target);
  const [redis, pools] = [openRedis(target), watchPools(target)];
  try {
    const measureDeps = { ...deps, screen, redis, pools };
    heading(screen, `First: ${ONE_POOL.title}`);
    const onePool = await measure(measureDeps, target, ONE_POOL, load);
    await removePools(measureDeps, target, ONE_POOL);
    heading(screen, `Then: ${TWO_POOLS.title}`);
    const twoPools = await measure(measureDeps, target, TWO_POOLS, load);
    return {
      kubernetes,
      celery: twoPools.celery,
      onePool: summarise(onePool.notes),
      twoPools: summarise(twoPools.notes),
    };
  } finally {
    await Promise.all([redis.stop(), pools.stop()]);
  }
}

function introduction({ tasks, seconds }: Load): string[] {
  return [
    '',
    `  ${pc.bold('Muster demo')}: ${tasks} Celery tasks in ${seconds} s, 90 % of 20 ms and 10 % of 2 s; first in one shared pool,`,
    '  then in two, each time with 8 task slots. How long do the short ones wait?',
  ];
}

function heading(screen: Screen, title: string): void {
  print(screen, ['', pc.bold(title)]);
}

function print(screen: Screen, lines: readonly string[]): void {
  for (const line of lines) screen.line(line);
}

async function readKubernetesVersion({ tools }: Target): Promise<string> {
  const version = JSON.parse(await tools.kubectl(['version', '--output', 'json'])) as {
    readonly serverVersion: { readonly gitVersion: string };
  };
  return version.serverVersion.gitVersion;
}

/** Does all of it, whatever part fails: what cannot be taken down is said, and the rest goes on. */
async function takeDown(screen: Screen, undos: readonly Undo[]): Promise<void> {
  for (const { title, undo } of undos) {
    const startedMs = performance.now();
    screen.redraw([`  ${pc.dim(`${title} …`)}`]);
    try {
      await undo();
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(5);
      screen.line(`  ${pc.green('✓')} ${title.padEnd(54)} ${pc.dim(`${seconds} s`)}`);
    } catch (err) {
      screen.line(`  ${pc.red('✗')} ${title}: ${err instanceof Error ? err.message : String(err)}`);
    }
  }
}
