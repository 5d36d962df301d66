/**
 * Which pool reads which broker. Holds each pool's sampler and heartbeat subscription for as long as the pool lives,
 * and turns what they report (a queue changed, the broker's state changed, a worker did something) into the keys of the
 * pools concerned, through an index, so that one busy queue among a thousand pools wakes one pool.
 */
import type { BrokerEndpoint } from '../broker/endpoint.ts';
import type { Brokers } from '../broker/brokers.ts';
import type { BrokerSampler } from '../broker/sampler.ts';
import type { Fleet } from '../fleet/fleet.ts';

/** Ties pools to brokers. */
export interface Subscriptions {
  /** Makes `poolKey` read these queues of this broker from now on, instead of what it read before. */
  subscribe(poolKey: string, endpoint: BrokerEndpoint, queues: readonly string[]): BrokerSampler;
  /** Ends what a pool reads: it was deleted, or its broker is not known any more. */
  unsubscribe(poolKey: string): void;
  /** Ends what every pool reads: this process is not the leader any more. */
  clear(): void;
}

interface Subscription {
  readonly endpointId: string;
  readonly sampler: BrokerSampler;
  readonly queues: readonly string[];
}

/**
 * Builds the index.
 * @param deps.enqueue asked to look at a pool again
 */
export function createSubscriptions(deps: {
  brokers: Brokers;
  fleet: Fleet;
  enqueue: (poolKey: string) => void;
}): Subscriptions {
  const byPool = new Map<string, Subscription>();
  /** endpoint id → queue → pools that consume it */
  const index = new Map<string, Map<string, Set<string>>>();
  const watched = new WeakSet<BrokerSampler>();

  deps.fleet.onChange(deps.enqueue);

  const watch = (sampler: BrokerSampler): void => {
    if (watched.has(sampler)) return;
    watched.add(sampler);
    sampler.onChange((changed) => {
      const queues = index.get(sampler.endpoint.id);
      if (queues === undefined) return;
      for (const queue of changed === 'state' ? queues.keys() : changed) {
        for (const poolKey of queues.get(queue) ?? []) deps.enqueue(poolKey);
      }
    });
  };

  const removeFromIndex = (poolKey: string, { endpointId, queues }: Subscription): void => {
    const pools = index.get(endpointId);
    for (const queue of queues) {
      pools?.get(queue)?.delete(poolKey);
      if (pools?.get(queue)?.size === 0) pools.delete(queue);
    }
    if (pools?.size === 0) index.delete(endpointId);
  };

  const unsubscribe = (poolKey: string): void => {
    const current = byPool.get(poolKey);
    if (current === undefined) return;
    removeFromIndex(poolKey, current);
    byPool.delete(poolKey);
    deps.brokers.release(poolKey);
    deps.fleet.release(poolKey);
  };

  return {
    unsubscribe,
    clear: () => [...byPool.keys()].forEach(unsubscribe),
    subscribe(poolKey, endpoint, queues) {
      const current = byPool.get(poolKey);
      if (current?.endpointId === endpoint.id && sameNames(current.queues, queues)) return current.sampler;
      if (current !== undefined) removeFromIndex(poolKey, current);
      const pools = index.get(endpoint.id) ?? new Map<string, Set<string>>();
      index.set(endpoint.id, pools);
      for (const queue of queues) pools.set(queue, (pools.get(queue) ?? new Set()).add(poolKey));
      const sampler = deps.brokers.acquire(endpoint, poolKey, queues);
      deps.fleet.acquire(endpoint, poolKey);
      byPool.set(poolKey, { endpointId: endpoint.id, sampler, queues });
      watch(sampler);
      return sampler;
    },
  };
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}
