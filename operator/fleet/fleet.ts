/**
 * What workers are doing, on all brokers: one subscription per broker, shared by its pools, ended with the last of them.
 * It tells a pool when one of its workers appears, changes what it does, falls silent or leaves, and not when a
 * heartbeat says what the one before said.
 */
import type { BrokerEndpoint } from '../broker/endpoint.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { WorkerReport } from './activity.ts';
import { nodeNameOf, parseWorkerMessage } from './heartbeat.ts';
import { createListener, type Listener, type ListenerState } from './listener.ts';
import type { FleetMetrics, FleetSeries } from './metrics.ts';
import { createRoster, type Roster } from './roster.ts';

/** Hands out what workers said. */
export interface Fleet {
  /** Listens on this endpoint for this pool from now on; replaces what the pool listened to before. */
  acquire(endpoint: BrokerEndpoint, poolKey: string): void;
  /** Ends what a pool listens to. */
  release(poolKey: string): void;
  /** What the worker in a pod said last, on the pool's broker. */
  report(namespace: string, pool: string, pod: string): WorkerReport | undefined;
  /**
   * What the workers of a pool said last.
   * @param pods names of the pool's pods: finds workers too that do not say whose they are
   */
  reports(poolKey: string, pods?: readonly string[]): readonly WorkerReport[];
  /** Calls back with the pools whose workers' activity changed. */
  onChange(fn: (poolKey: string) => void): void;
  /** Since when (monotonic ms) heartbeats of an endpoint are heard without a break; undefined while they are not. */
  subscribedSince(endpointId: string): number | undefined;
  /** Why heartbeats of a pool's broker cannot be heard; undefined when they can, or when that is being tried. */
  problem(poolKey: string): string | undefined;
  close(): Promise<void>;
}

interface Shared {
  readonly listener: Listener;
  readonly roster: Roster;
  readonly series: FleetSeries;
  readonly pools: Set<string>;
  /** The pools by their name alone, for workers that do not say their namespace. */
  readonly poolsByName: Map<string, Set<string>>;
}

/** How often workers are looked through for silent ones. */
const sweepMs = 2_000;

/** Builds the fleet. */
export function createFleet(options: { clock: Clock; log: Logger; metrics: FleetMetrics }): Fleet {
  const { clock, log, metrics } = options;
  const shared = new Map<string, Shared>();
  const idOfPool = new Map<string, string>();
  const listeners: ((poolKey: string) => void)[] = [];
  const ending = new Set<Promise<void>>();
  let sweeper: Timer | undefined;

  const tell = (poolKey: string): void => {
    for (const fn of listeners) {
      try {
        fn(poolKey);
      } catch (err) {
        log.error('a listener of the fleet failed', { err });
      }
    }
  };

  const tellPoolsOf = ({ pools, poolsByName }: Shared, { pool, hostname }: WorkerReport): void => {
    if (pool === undefined) for (const poolKey of poolsByName.get(nodeNameOf(hostname)) ?? []) tell(poolKey);
    else if (pools.has(pool)) tell(pool);
  };

  const onMessage = (entry: Shared, text: string): void => {
    const message = parseWorkerMessage(text);
    if (message.kind === 'malformed') entry.series.malformed();
    else if (message.kind === 'offline') {
      const gone = entry.roster.offline(message.hostname);
      entry.series.workers(entry.roster.size);
      if (gone !== undefined) tellPoolsOf(entry, gone);
    } else if (message.kind === 'heartbeat') {
      entry.series.heard();
      if (message.extraProblem !== undefined) entry.series.malformed();
      const before = entry.roster.size;
      const news = entry.roster.heard(message, clock.monotonicMs());
      if (entry.roster.size !== before) entry.series.workers(entry.roster.size);
      if (typeof news === 'object') tellPoolsOf(entry, news);
    }
  };

  const sweep = (): void => {
    for (const entry of shared.values()) {
      const silent = entry.roster.sweep(clock.monotonicMs());
      entry.series.workers(entry.roster.size);
      for (const report of silent) tellPoolsOf(entry, report);
    }
    sweeper = shared.size === 0 ? undefined : clock.setTimer(sweepMs, sweep);
  };

  const start = (endpoint: BrokerEndpoint): Shared => {
    const series = metrics.acquire(endpoint.display);
    const pools = new Set<string>();
    const onState = (state: ListenerState): void => {
      series.subscribed(state.kind === 'ok');
      for (const poolKey of pools) tell(poolKey);
    };
    const hear = (text: string): void => onMessage(entry, text);
    const listener = createListener({ endpoint, clock, log, onMessage: hear, onState });
    const entry: Shared = { listener, roster: createRoster(), series, pools, poolsByName: new Map() };
    return entry;
  };

  const end = (id: string, { listener, series }: Shared): void => {
    shared.delete(id);
    const done = listener.close().finally(() => {
      series.release();
      ending.delete(done);
    });
    ending.add(done);
  };

  const entryOf = (poolKey: string): Shared | undefined => shared.get(idOfPool.get(poolKey) ?? '');

  const release = (poolKey: string): void => {
    const id = idOfPool.get(poolKey);
    const entry = entryOf(poolKey);
    idOfPool.delete(poolKey);
    if (id === undefined || entry === undefined) return;
    entry.pools.delete(poolKey);
    const name = nameOf(poolKey);
    const sameName = entry.poolsByName.get(name);
    sameName?.delete(poolKey);
    if (sameName?.size === 0) entry.poolsByName.delete(name);
    if (entry.pools.size === 0) end(id, entry);
  };

  return {
    acquire(endpoint, poolKey) {
      if (idOfPool.get(poolKey) === endpoint.id) return;
      release(poolKey);
      const entry = shared.get(endpoint.id) ?? start(endpoint);
      shared.set(endpoint.id, entry);
      idOfPool.set(poolKey, endpoint.id);
      entry.pools.add(poolKey);
      const name = nameOf(poolKey);
      entry.poolsByName.set(name, (entry.poolsByName.get(name) ?? new Set()).add(poolKey));
      sweeper ??= clock.setTimer(sweepMs, sweep);
    },
    release,
    report(namespace, pool, pod) {
      const poolKey = `${namespace}/${pool}`;
      const found = entryOf(poolKey)?.roster.ofPool(poolKey, [pod]) ?? [];
      return found.find((report) => report.pod === pod);
    },
    reports: (poolKey, pods = []) => entryOf(poolKey)?.roster.ofPool(poolKey, pods) ?? [],
    onChange: (fn) => void listeners.push(fn),
    subscribedSince(endpointId) {
      const state = shared.get(endpointId)?.listener.state();
      return state?.kind === 'ok' ? state.sinceMs : undefined;
    },
    problem(poolKey) {
      const state = entryOf(poolKey)?.listener.state();
      return state?.kind === 'failed' ? state.message : undefined;
    },
    async close() {
      sweeper?.cancel();
      for (const [id, entry] of shared) end(id, entry);
      idOfPool.clear();
      await Promise.all(ending);
    },
  };
}

function nameOf(poolKey: string): string {
  return poolKey.slice(poolKey.indexOf('/') + 1);
}
