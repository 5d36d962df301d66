/** The metrics of pools. Labels are namespace, pool and closed sets; a pool's series go when the pool goes. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { decisionReasons, type Decision } from '../../scaling/decide.ts';
import type { Known } from '../../signals/known.ts';
import type { Signals } from '../../signals/signals.ts';

/** What is published of one pool after each look at it. */
export interface PoolFacts {
  readonly namespace: string;
  readonly pool: string;
  readonly signals: Signals;
  readonly decision: Decision;
  readonly currentReplicas: number;
  readonly readyReplicas: number;
  readonly ready: boolean;
}

/** Writes the metrics. */
export interface PoolMetrics {
  observe(facts: PoolFacts): void;
  /** A change of size was accepted by the API server, `seconds` after its cause was first seen. */
  scaled(namespace: string, pool: string, reason: Decision['reason'], seconds: number): void;
  /** Removes every series of a pool. */
  remove(namespace: string, pool: string): void;
  /** Removes every pool's gauges: another replica leads now, and a number that nobody renews is a false one. */
  clear(): void;
}

/** Declares the metrics in a registry. */
export function createPoolMetrics(registry: Registry): PoolMetrics {
  const registers = [registry];
  const labelNames = ['namespace', 'pool'] as const;
  const tasks = new Gauge({
    name: 'muster_pool_tasks',
    help: 'Tasks of a pool by state: waiting in its queues, held by workers without running, running. Absent while unknown.',
    labelNames: [...labelNames, 'state'] as const,
    registers,
  });
  const replicas = new Gauge({
    name: 'muster_pool_replicas',
    help: 'Pods of a pool: desired by the last decision, current in the Deployment, ready.',
    labelNames: [...labelNames, 'kind'] as const,
    registers,
  });
  const ready = new Gauge({
    name: 'muster_pool_ready',
    help: '1 while the Ready condition of a pool is True.',
    labelNames,
    registers,
  });
  const decisions = new Counter({
    name: 'muster_scale_decisions_total',
    help: 'Changes of size that the API server accepted, by reason.',
    labelNames: [...labelNames, 'reason'] as const,
    registers,
  });
  const reaction = new Histogram({
    name: 'muster_scale_reaction_seconds',
    help: 'From the reading that showed the need for another size to the accepted write.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });

  const setKnown = (labels: { namespace: string; pool: string; state: string }, value: Known<number>): void => {
    if (value.kind === 'ok') tasks.set(labels, value.value);
    // A gauge that keeps its last value would say a number that nobody has read.
    else tasks.remove(labels);
  };

  return {
    observe({ namespace, pool, signals, decision, currentReplicas, readyReplicas, ready: isReady }) {
      setKnown({ namespace, pool, state: 'waiting' }, signals.ready);
      setKnown({ namespace, pool, state: 'held' }, signals.held);
      setKnown({ namespace, pool, state: 'running' }, signals.running);
      replicas.set({ namespace, pool, kind: 'desired' }, decision.replicas);
      replicas.set({ namespace, pool, kind: 'current' }, currentReplicas);
      replicas.set({ namespace, pool, kind: 'ready' }, readyReplicas);
      ready.set({ namespace, pool }, isReady ? 1 : 0);
    },
    scaled(namespace, pool, reason, seconds) {
      decisions.inc({ namespace, pool, reason });
      reaction.observe(seconds);
    },
    clear() {
      for (const metric of [tasks, replicas, ready]) metric.reset();
    },
    remove(namespace, pool) {
      for (const state of ['waiting', 'held', 'running']) tasks.remove({ namespace, pool, state });
      for (const kind of ['desired', 'current', 'ready']) replicas.remove({ namespace, pool, kind });
      ready.remove({ namespace, pool });
      for (const reason of decisionReasons) decisions.remove({ namespace, pool, reason });
    },
  };
}
