/**
 * The samplers of all brokers. Pools that write the same endpoint share one; it reads the union of their queues, and it
 * ends with the last pool that uses it.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { BrokerEndpoint } from './endpoint.ts';
import type { BrokerMetrics, BrokerSeries } from './metrics.ts';
import { createSampler, type BrokerSampler, type OwnedSampler, type SamplerTimes } from './sampler.ts';

export type { BrokerSampler } from './sampler.ts';

/** Hands out samplers. */
export interface Brokers {
  /** The sampler of this endpoint, reading these queues for this user from now on; replaces what the user had. */
  acquire(endpoint: BrokerEndpoint, user: string, queues: readonly string[]): BrokerSampler;
  /** Ends what a user reads. */
  release(user: string): void;
  /** Ends everything. */
  close(): Promise<void>;
}

interface Shared {
  readonly sampler: OwnedSampler;
  readonly series: BrokerSeries;
  readonly users: Map<string, readonly string[]>;
  /** How many users read each queue. */
  readonly uses: Map<string, number>;
}

/** Builds the registry. */
export function createBrokers(
  options: { clock: Clock; log: Logger; metrics: BrokerMetrics } & Partial<SamplerTimes>,
): Brokers {
  const { clock, log, metrics, tickMs = 2_000, fullReadMs = 10_000, timeoutMs = 3_000 } = options;
  const shared = new Map<string, Shared>();
  const idOfUser = new Map<string, string>();
  const ending = new Set<Promise<void>>();

  const end = (id: string, { sampler, series }: Shared): void => {
    shared.delete(id);
    const done = sampler.close().finally(() => {
      series.release();
      ending.delete(done);
    });
    ending.add(done);
  };

  /** Replaces the queues of one user; a queue is read while anybody uses it. */
  const setQueues = ({ sampler, users, uses }: Shared, user: string, queues: readonly string[]): void => {
    const before = users.get(user) ?? [];
    users.set(user, queues);
    for (const queue of queues) {
      uses.set(queue, (uses.get(queue) ?? 0) + 1);
      sampler.add(queue);
    }
    for (const queue of before) {
      const left = (uses.get(queue) ?? 1) - 1;
      if (left > 0) uses.set(queue, left);
      else {
        uses.delete(queue);
        sampler.remove(queue);
      }
    }
  };

  const release = (user: string): void => {
    const id = idOfUser.get(user);
    const entry = id === undefined ? undefined : shared.get(id);
    if (id === undefined || entry === undefined) return;
    idOfUser.delete(user);
    setQueues(entry, user, []);
    entry.users.delete(user);
    if (entry.users.size === 0) end(id, entry);
  };

  return {
    acquire(endpoint, user, queues) {
      if (idOfUser.get(user) !== endpoint.id) release(user);
      let entry = shared.get(endpoint.id);
      if (entry === undefined) {
        const series = metrics.acquire(endpoint.display);
        const sampler = createSampler({ endpoint, clock, log, series, tickMs, fullReadMs, timeoutMs });
        entry = { sampler, series, users: new Map(), uses: new Map() };
        shared.set(endpoint.id, entry);
      }
      idOfUser.set(user, endpoint.id);
      setQueues(entry, user, queues);
      return entry.sampler;
    },
    release,
    async close() {
      for (const [id, entry] of shared) end(id, entry);
      idOfUser.clear();
      await Promise.all(ending);
    },
  };
}
