// How the running set-up and the comparison look, as lines of text. Pure: nothing is printed here.
import pc from 'picocolors';
import { percentile, waitsOf, type Summary, type TaskNote } from './results.ts';
import type { PoolView } from './watch.ts';

/** A set-up in the middle of its run. */
export interface LiveState {
  readonly seconds: number;
  readonly ofSeconds: number;
  readonly tasks: number;
  readonly sent: number;
  readonly notes: readonly TaskNote[];
  readonly pools: readonly PoolView[];
}

const COLUMNS = ['pool', 'pods', 'waiting', 'held', 'running'] as const;

/** The redrawn lines. */
export function liveLines(state: LiveState): string[] {
  const { seconds, ofSeconds, tasks, sent, notes, pools } = state;
  const head = `${bar(notes.length / tasks)}  ${seconds.toFixed(0)} s of about ${ofSeconds} s`;
  return [
    `    ${head}   ${sent} of ${tasks} tasks sent, ${notes.length} done`,
    `    ${shortWaitsInWords(notes)}`,
    pc.dim(`    ${tableRow(COLUMNS)}`),
    ...pools.map((pool) => `    ${tableRow(poolCells(pool))}`),
  ];
}

/** The same on one line, for output that is not redrawn. */
export function plainLine({ seconds, tasks, notes, pools }: LiveState): string {
  const parts = pools.map((pool) => {
    const [name, pods, waiting, held, running] = poolCells(pool);
    return `${name} ${pods} pods: ${waiting} waiting, ${held} held, ${running} running`;
  });
  return `    ${seconds.toFixed(0).padStart(3)} s  ${notes.length}/${tasks} done; ${shortWaitsInWords(notes)}; ${parts.join('; ')}`;
}

function shortWaitsInWords(notes: readonly TaskNote[]): string {
  const waits = waitsOf(notes, 'short');
  if (waits.length === 0) return 'no short task has started yet';
  const [p50, p99] = [percentile(waits, 50), percentile(waits, 99)].map(inWords);
  return `short tasks waited p50 ${p50}, p99 ${p99}, at most ${inWords(Math.max(...waits))}`;
}

function poolCells({ name, status }: PoolView): [string, string, string, string, string] {
  const { waiting, held, running } = status.tasks ?? {};
  return [
    name,
    `${status.readyReplicas ?? '?'}/${status.desiredReplicas ?? '?'}`,
    ...([waiting, held, running].map((count) => String(count ?? '?')) as [string, string, string]),
  ];
}

function tableRow(cells: readonly string[]): string {
  const [first = '', ...rest] = cells;
  return first.padEnd(10) + rest.map((cell) => cell.padStart(9)).join('');
}

function bar(part: number): string {
  const width = 24;
  const full = Math.round(Math.min(1, part) * width);
  return pc.cyan('█'.repeat(full)) + pc.dim('░'.repeat(width - full));
}

/** A time as people say it, with what can be trusted of it: `4 ms`, `0.31 s`, `12.3 s`. */
export function inWords(seconds: number): string {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00095 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
}

/** The table at the end. */
export function comparisonLines(onePool: Summary, twoPools: Summary): string[] {
  const waitRow = (title: string, pick: (summary: Summary) => number) => {
    const [before, after] = [pick(onePool), pick(twoPools)];
    return [title, inWords(before), inWords(after), ratioInWords(before, after)];
  };
  const rows = [
    ['', 'one pool', 'two pools', ''],
    waitRow('short tasks: wait, p50', ({ shortWaitSeconds }) => shortWaitSeconds.p50),
    waitRow('short tasks: wait, p99', ({ shortWaitSeconds }) => shortWaitSeconds.p99),
    waitRow('long tasks:  wait, p50', ({ longWaitSeconds }) => longWaitSeconds.p50),
    waitRow('long tasks:  wait, p99', ({ longWaitSeconds }) => longWaitSeconds.p99),
    ['tasks per second', onePool.tasksPerSecond.toFixed(1), twoPools.tasksPerSecond.toFixed(1), ''],
  ];
  return rows.map(([title = '', before = '', after = '', ratio = ''], index) => {
    const line = `  ${title.padEnd(26)}${before.padStart(11)}${after.padStart(13)}   ${ratio}`.trimEnd();
    return index === 0 ? pc.dim(line) : title.includes('short tasks: wait, p99') ? pc.bold(line) : line;
  });
}

/** Below a factor of 1.2 or 10 ms the difference is chance. */
function ratioInWords(before: number, after: number): string {
  if (Math.abs(before - after) < 0.01) return 'about the same';
  const factor = before / after;
  if (factor >= 1.2) return `${factor.toFixed(factor < 9.95 ? 1 : 0)} times shorter`;
  return factor <= 1 / 1.2 ? `${(1 / factor).toFixed(1)} times longer` : 'about the same';
}
