/**
 * The workers known on one broker: who said what last, found by pool and by pod. Bounded: a worker that has been silent
 * for ten minutes is forgotten, and more than the cap are not taken in. Memory only; the time is passed in.
 */
import { isSilent, type WorkerReport } from './activity.ts';
import { nodeNameOf, podOf, type WorkerMessage } from './heartbeat.ts';

/** The workers of one broker. */
export interface Roster {
  /** Takes in a heartbeat. Gives the worker when what it does has changed, or when it was silent or not known before. */
  heard(message: Extract<WorkerMessage, { kind: 'heartbeat' }>, nowMs: number): WorkerReport | 'unchanged' | 'full';
  /** A worker said that it ends. */
  offline(hostname: string): WorkerReport | undefined;
  /** Workers that said they are of this pool, those that only bear its name, and those in these pods. */
  ofPool(poolKey: string, pods: readonly string[]): readonly WorkerReport[];
  /** Forgets who was silent for long; gives the workers that became silent since the last call. */
  sweep(nowMs: number): readonly WorkerReport[];
  readonly size: number;
}

interface Worker {
  report: WorkerReport;
  /** What it does, as text: two heartbeats that say the same are the same. */
  doing: string;
  silent: boolean;
}

/** A worker silent for longer than this is forgotten. */
export const forgetAfterMs = 600_000;
/** More workers than this are not kept for one broker. */
const defaultMaxWorkers = 20_000;

/** Builds an empty roster. */
export function createRoster(maxWorkers = defaultMaxWorkers): Roster {
  const workers = new Map<string, Worker>();
  /** By pool, by the pool's bare name for workers that did not say their pool, and by pod. */
  const index = new Map<string, Set<Worker>>();

  const indexKeys = (report: WorkerReport): string[] => [
    report.pool === undefined ? `name:${nodeNameOf(report.hostname)}` : `pool:${report.pool}`,
    `pod:${report.pod}`,
  ];
  const link = (worker: Worker): void => {
    for (const key of indexKeys(worker.report)) index.set(key, (index.get(key) ?? new Set()).add(worker));
  };
  const unlink = (worker: Worker): void => {
    for (const key of indexKeys(worker.report)) {
      const set = index.get(key);
      set?.delete(worker);
      if (set?.size === 0) index.delete(key);
    }
  };
  const forget = (worker: Worker): void => {
    workers.delete(worker.report.hostname);
    unlink(worker);
  };

  return {
    heard(message, nowMs) {
      const { hostname, active, processed, periodMs, extra } = message;
      const report: WorkerReport = {
        hostname,
        pod: podOf(hostname),
        receivedAtMs: nowMs,
        changedAtMs: nowMs,
        periodMs,
        ...(extra?.pool === undefined ? {} : { pool: extra.pool }),
        active,
        processed,
        ...(extra === undefined ? {} : { extra }),
      };
      const doing = JSON.stringify([active, extra]);
      const known = workers.get(hostname);
      if (known === undefined) {
        if (workers.size >= maxWorkers) return 'full';
        const worker = { report, doing, silent: false };
        workers.set(hostname, worker);
        link(worker);
        return report;
      }
      const isNews = known.doing !== doing || known.silent || isSilent(known.report, nowMs);
      const isMoved = known.report.pool !== report.pool;
      if (isMoved) unlink(known);
      const changedAtMs = known.doing === doing ? known.report.changedAtMs : nowMs;
      Object.assign(known, { report: { ...report, changedAtMs }, doing, silent: false });
      if (isMoved) link(known);
      return isNews ? report : 'unchanged';
    },
    offline(hostname) {
      const worker = workers.get(hostname);
      if (worker !== undefined) forget(worker);
      return worker?.report;
    },
    ofPool(poolKey, pods) {
      const found = new Set<Worker>();
      const name = poolKey.slice(poolKey.indexOf('/') + 1);
      for (const worker of index.get(`pool:${poolKey}`) ?? []) found.add(worker);
      for (const worker of index.get(`name:${name}`) ?? []) found.add(worker);
      for (const pod of pods) {
        for (const worker of index.get(`pod:${pod}`) ?? []) {
          if (worker.report.pool === undefined || worker.report.pool === poolKey) found.add(worker);
        }
      }
      return [...found].map((worker) => worker.report);
    },
    sweep(nowMs) {
      const becameSilent: WorkerReport[] = [];
      for (const worker of workers.values()) {
        if (!isSilent(worker.report, nowMs)) continue;
        if (!worker.silent) becameSilent.push(worker.report);
        worker.silent = true;
        if (nowMs - worker.report.receivedAtMs > forgetAfterMs) forget(worker);
      }
      return becameSilent;
    },
    get size() {
      return workers.size;
    },
  };
}
