/**
 * What a fleet costs in which nothing happens: commands to the broker between the full reads, writes to the API server,
 * memory, and the share of a core.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseCommandStats, sumOf, writesOf } from './metrics.ts';
import type { Operator } from './operatorProcess.ts';
import type { Stage } from './stage.ts';

/** How often Redis is asked what it did: often enough to tell the full reads apart. */
const lookMs = 500;

/** What was found. */
export interface IdleCost {
  readonly seconds: number;
  /** Stretches of half a second in which Redis got more than a tenth of a full read. */
  readonly fullReads: number;
  /** Commands a second outside of those; the signs of life of the three connections are among them. */
  readonly commandsPerSecond: number;
  /** Of those, without the signs of life (PING). */
  readonly readCommandsPerSecond: number;
  readonly writesPerSecond: number;
  readonly getsPerSecond: number;
  readonly rssMiB: number;
  readonly peakRssMiB: number;
  /** Share of one core, 0 to 1. */
  readonly cpuShare: number;
}

/** Watches an idle operator. */
export async function measureIdle(stage: Stage, operator: Operator, seconds: number, pools: number): Promise<IdleCost> {
  const metricsBefore = (await operator.metrics()) ?? '';
  // Answering that was work: it is not to be counted.
  await sleep(1_000);
  const usageBefore = await operator.usage();
  const startMs = performance.now();
  const looks: { all: number; pings: number }[] = [];
  let before = await commands(stage);
  while (performance.now() - startMs < seconds * 1000) {
    await sleep(lookMs);
    const now = await commands(stage);
    // Our own question is one of them.
    looks.push({ all: now.all - before.all - 1, pings: now.pings - before.pings });
    before = now;
  }
  const usage = await operator.usage();
  const tookSeconds = (performance.now() - startMs) / 1000;
  const metricsAfter = (await operator.metrics()) ?? '';
  const quiet = looks.filter(({ all }) => all < Math.max(pools / 10, 5));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const quietSeconds = (quiet.length * lookMs) / 1000;
  const gets = (text: string): number => sumOf(text, 'rest_client_requests_total', ['method="GET"']);
  return {
    seconds: tookSeconds,
    fullReads: looks.length - quiet.length,
    commandsPerSecond: sum(quiet.map(({ all }) => all)) / quietSeconds,
    readCommandsPerSecond: sum(quiet.map(({ all, pings }) => all - pings)) / quietSeconds,
    writesPerSecond: (writesOf(metricsAfter) - writesOf(metricsBefore)) / tookSeconds,
    getsPerSecond: (gets(metricsAfter) - gets(metricsBefore)) / tookSeconds,
    rssMiB: usage.rssMiB,
    peakRssMiB: usage.peakRssMiB,
    cpuShare: (usage.cpuSeconds - usageBefore.cpuSeconds) / tookSeconds,
  };
}

/** Commands that Redis has run so far. */
async function commands({ redis }: Stage): Promise<{ all: number; pings: number }> {
  const calls = parseCommandStats(await redis.info('commandstats'));
  return { all: [...calls.values()].reduce((total, value) => total + value, 0), pings: calls.get('ping') ?? 0 };
}
