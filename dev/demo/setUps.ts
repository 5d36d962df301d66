// The two set-ups that are compared. They have the same pods in number and the same task slots in all, and get the same load.

/** One way to arrange the workers. */
export interface SetUp {
  /** Part of the keys in Redis and of the producer's name. */
  readonly id: 'one-pool' | 'two-pools';
  readonly title: string;
  /** File in `manifests/`. */
  readonly manifest: string;
  /** Its WorkerPools with their numbers of pods. */
  readonly pools: Readonly<Record<string, number>>;
  /** Whether the producer mounts Muster's routing table. Without it all tasks go to Celery's default queue. */
  readonly isRouted: boolean;
}

/** One pool for everything. */
export const ONE_POOL: SetUp = {
  id: 'one-pool',
  title: "one shared pool with Celery's defaults: prefetch 4, early acknowledgement",
  manifest: 'one-pool',
  pools: { shared: 4 },
  isRouted: false,
};

/** A pool for short tasks and one for long ones. */
export const TWO_POOLS: SetUp = {
  id: 'two-pools',
  title: 'two pools, one for short and one for long tasks',
  manifest: 'two-pools',
  pools: { short: 1, long: 3 },
  isRouted: true,
};

/** What both set-ups are fed with. */
export interface Load {
  /** 90 % of 20 ms, 10 % of 2 s. */
  readonly tasks: number;
  /** Over how long they are sent. */
  readonly seconds: number;
}

// 25 tasks/s × (0.9 × 0.02 s + 0.1 × 2 s) keeps 5.45 of 8 slots busy, and 5 of the 6 for long tasks: both set-ups keep up.
const TASKS_PER_SECOND = 25;

/** The load for a given time. */
export function loadFor(seconds: number): Load {
  return { tasks: TASKS_PER_SECOND * seconds, seconds };
}

/** Pods of a set-up, over all of its pools. */
export function podsOf({ pools }: SetUp): number {
  return Object.values(pools).reduce((sum, pods) => sum + pods, 0);
}
