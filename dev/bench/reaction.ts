/**
 * From a task to the size it needs: the time from just before LPUSH is sent to the moment at which a watch on
 * Deployments shows the new size, both on this process' clock. That contains the way of the watch event, so the API
 * server had accepted the size a little earlier.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { emptyPools, type Pool } from './pools.ts';
import type { Stage } from './stage.ts';

/** A queue that did not change for longer than a tick (2 s) is at rest. */
const restMs = 2_300;
/** How often a busy queue changes. */
const noiseMs = 50;

/** Puts one task into a pool's queue and resolves to the seconds until the pool has at least so many replicas. */
async function react(stage: Stage, { key, queue }: Pool, replicas: number): Promise<number> {
  const startMs = performance.now();
  const sized = stage.sized(key, (size) => size.replicas >= replicas);
  await stage.redis.lpush(queue, 'task');
  return ((await sized) - startMs) / 1000;
}

/** One pool again and again: from zero, back to zero, at rest, once more. Seconds. */
export async function reactOnePool(stage: Stage, pool: Pool, samples: number): Promise<number[]> {
  const seconds: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    await sleep(restMs + Math.random() * 500);
    seconds.push(await react(stage, pool, 1));
    await emptyPools(stage, [pool]);
  }
  return seconds;
}

/** A task for one pool after the other, at random moments, without waiting for the one before. Seconds. */
export async function reactInTurn(stage: Stage, pools: readonly Pool[], meanGapMs: number): Promise<number[]> {
  const running: Promise<number>[] = [];
  for (const pool of pools) {
    running.push(react(stage, pool, 1));
    await sleep(-Math.log(1 - Math.random()) * meanGapMs);
  }
  const seconds = await Promise.all(running);
  await emptyPools(stage, pools);
  return seconds;
}

/** A task for all of them in the same moment. Seconds. */
export async function reactAtOnce(stage: Stage, pools: readonly Pool[]): Promise<number[]> {
  const seconds = await Promise.all(pools.map((pool) => react(stage, pool, 1)));
  await emptyPools(stage, pools);
  return seconds;
}

/**
 * Pools that run, whose queues change all the time (which is when the operator reads them only once a tick), get one
 * task more at random moments. Seconds.
 */
export async function reactWhileRunning(stage: Stage, pools: readonly Pool[], growths: number): Promise<number[]> {
  await Promise.all(pools.map((pool) => react(stage, pool, 1)));
  const noise = setInterval(() => {
    for (const { queue } of pools) void stage.redis.rpoplpush(queue, queue);
  }, noiseMs);
  try {
    const grow = async (pool: Pool): Promise<number[]> => {
      const seconds: number[] = [];
      for (let growth = 1; growth <= growths; growth += 1) {
        await sleep(restMs + Math.random() * 2_000);
        seconds.push(await react(stage, pool, growth + 1));
      }
      return seconds;
    };
    return (await Promise.all(pools.map(grow))).flat();
  } finally {
    clearInterval(noise);
    await emptyPools(stage, pools);
  }
}
