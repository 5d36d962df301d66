/** What a run measured, and how it reads as a table. Pure. */
import type { IdleCost } from './idle.ts';
import { atMost, type Row } from './report.ts';
import type { StartTimes } from './restart.ts';
import { percentile, shortNumber, type Spread } from './statistics.ts';

/** All numbers of a run; `--json` prints this. */
export interface Results {
  readonly pools: number;
  readonly namespaces: number;
  readonly bundleMiB: number;
  /** Seconds from a task to the accepted size. */
  readonly reactionSeconds: {
    readonly onePool: { readonly fromZero: Spread; readonly running: Spread };
    readonly allPools: { readonly fromZero: Spread; readonly running: Spread; readonly atOnce: Spread };
  };
  /** Seconds from the first pool's creation to the last one's, and until all were at zero and nothing was written. */
  readonly creation: {
    readonly appliedSeconds: number;
    readonly settledSeconds: number;
    readonly writesPerPool: number;
  };
  readonly idle: IdleCost;
  readonly starts: readonly StartTimes[];
  readonly idleAfterStart: IdleCost;
}

/** The bars, in seconds, MiB and shares. */
const bars = { fromZero: 0.1, running: 2.5, rssMiB: 120, cpuShare: 0.05, start: 5 } as const;

/** The table of a run. */
export function tableOf(results: Results): Row[] {
  const { pools, reactionSeconds: reaction, creation, idle, idleAfterStart, starts } = results;
  const all = `${pools} pools`;
  const ofStarts = (pick: (times: StartTimes) => number): number => percentile(starts.map(pick), 0.5);
  const seconds = (what: string, spread: Spread, most?: number): Row => {
    const measured = `p50 ${shortNumber(spread.p50)} s, p99 ${shortNumber(spread.p99)} s (${spread.count})`;
    return most === undefined
      ? { what, bar: '', measured }
      : { what, bar: `p99 ≤ ${most} s`, measured, isMet: spread.p99 <= most };
  };
  const percent = (share: number): string => shortNumber(share * 100);
  return [
    seconds('task → accepted size, from zero, 1 pool', reaction.onePool.fromZero, bars.fromZero),
    seconds(`task → accepted size, from zero, ${all}`, reaction.allPools.fromZero, bars.fromZero),
    seconds('task → accepted size, running and busy, 1 pool', reaction.onePool.running, bars.running),
    seconds(`task → accepted size, running and busy, ${all}`, reaction.allPools.running, bars.running),
    seconds(
      `task → accepted size, from zero, ${reaction.allPools.atOnce.count} pools at once`,
      reaction.allPools.atOnce,
    ),
    {
      what: `${all} idle: broker commands/s between full reads, PING apart`,
      bar: '0',
      measured: `${shortNumber(idle.readCommandsPerSecond)} (PING ${shortNumber(idle.commandsPerSecond - idle.readCommandsPerSecond)})`,
      isMet: idle.readCommandsPerSecond === 0,
    },
    atMost(`${all} idle: API writes/s`, idle.writesPerSecond, 0, '', shortNumber),
    { what: `${all} idle: API reads/s`, bar: '', measured: shortNumber(idle.getsPerSecond) },
    atMost(`${all} idle: memory (RSS), after creating them`, idle.rssMiB, bars.rssMiB, ' MiB', shortNumber),
    atMost(`${all} idle: memory (RSS), after a restart`, idleAfterStart.rssMiB, bars.rssMiB, ' MiB', shortNumber),
    {
      what: `${all}: memory (RSS) at its highest`,
      bar: '',
      measured: `${shortNumber(Math.max(idle.peakRssMiB, idleAfterStart.peakRssMiB))} MiB`,
    },
    atMost(`${all} idle: CPU of a core`, idle.cpuShare * 100, bars.cpuShare * 100, ' %', shortNumber),
    { what: `${all} idle: CPU of a core, after a restart`, bar: '', measured: `${percent(idleAfterStart.cpuShare)} %` },
    atMost(
      `start → first accepted size, ${all}`,
      ofStarts((times) => times.firstDecisionSeconds),
      bars.start,
      ' s',
      shortNumber,
    ),
    {
      what: `start → 20 accepted sizes, ${all}`,
      bar: '',
      measured: `${shortNumber(ofStarts((times) => times.lastDecisionSeconds))} s`,
    },
    atMost(
      `start → every pool looked at, ${all}`,
      ofStarts((times) => times.allSeenSeconds),
      bars.start,
      ' s',
      shortNumber,
    ),
    {
      what: `start → every pool looked at, ${all}: CPU time`,
      bar: '',
      measured: `${shortNumber(ofStarts((times) => times.cpuSeconds))} s`,
    },
    {
      what: `creating ${all}`,
      bar: '',
      measured: `applied in ${shortNumber(creation.appliedSeconds)} s, settled after ${shortNumber(creation.settledSeconds)} s, ${shortNumber(creation.writesPerPool)} writes a pool`,
    },
  ];
}
