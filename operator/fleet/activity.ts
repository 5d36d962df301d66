/**
 * What the workers of a pool are doing, from what each pod said last. Pure. A pod that has not been heard lately is
 * silent, and with one silent pod the activity of the pool is unknown, not smaller: that pod may be two hours into a
 * task, and a scaler that counts it as idle ends it. What the others said is kept as a lower bound: a scaler that counts
 * them as idle too does not grow for the tasks that wait behind theirs.
 */
import type { MusterHeartbeat } from './heartbeat.ts';

/** What one worker said last. */
export interface WorkerReport {
  /** Celery's node name. */
  readonly hostname: string;
  readonly pod: string;
  /** When it was heard, on the clock's monotonic time; a worker's own time is never believed. */
  readonly receivedAtMs: number;
  /** When it was first heard to do what it does now, on the same clock. */
  readonly changedAtMs: number;
  /** Milliseconds between two of its heartbeats. */
  readonly periodMs: number;
  /** `namespace/name` of its pool, if it said so. */
  readonly pool?: string;
  readonly active: number;
  readonly processed: number;
  readonly extra?: MusterHeartbeat;
}

/** What runs and waits on one queue inside the workers. */
export interface QueueActivity {
  readonly running: number;
  readonly held: number;
}

/** What the workers that were heard do, summed. */
export interface HeardActivity {
  /** Tasks being executed. */
  readonly running: number;
  /** Tasks received and not started, ETA not included. */
  readonly held: number;
  /** Tasks that wait in workers for their ETA. */
  readonly scheduled: number;
  /** When the newest change of what they do was heard (monotonic ms); -Infinity without a worker. */
  readonly changedAtMs: number;
}

/** What a pool's workers are doing. */
export type PoolActivity =
  | (HeardActivity & {
      readonly kind: 'ok';
      /** By queue, as far as the workers said. */
      readonly byQueue: Readonly<Record<string, QueueActivity>>;
      readonly silentPods: readonly [];
    })
  | {
      readonly kind: 'unknown';
      readonly why: string;
      readonly silentPods: readonly string[];
      /** The sum over the pods that were heard: enough to grow by, never enough to shrink by. */
      readonly atLeast: HeardActivity;
    };

/** A worker is heard every 2 s; one lost message is nothing, five are something. */
const silentAfterMs = 10_000;
const silentAfterPeriods = 3;

/** Whether a worker has not been heard for so long that what it said last says nothing about now. */
export function isSilent(report: Pick<WorkerReport, 'receivedAtMs' | 'periodMs'>, nowMs: number): boolean {
  return nowMs - report.receivedAtMs > Math.max(silentAfterMs, silentAfterPeriods * report.periodMs);
}

/**
 * Sums the reports of a pool.
 * @param reports of any pods; those of other pods are left out
 * @param pods the pods whose worker is expected to be heard
 * @param nowMs the clock's monotonic time
 */
export function poolActivity(reports: readonly WorkerReport[], pods: readonly string[], nowMs: number): PoolActivity {
  const wanted = new Set(pods);
  const heard = reports.filter((report) => wanted.has(report.pod) && !isSilent(report, nowMs));
  const heardPods = new Set(heard.map((report) => report.pod));
  const silentPods = pods.filter((pod) => !heardPods.has(pod));
  let running = 0;
  let held = 0;
  let scheduled = 0;
  const byQueue = new Map<string, { running: number; held: number }>();
  const of = (queue: string): { running: number; held: number } => {
    const entry = byQueue.get(queue) ?? { running: 0, held: 0 };
    byQueue.set(queue, entry);
    return entry;
  };
  for (const { active, extra } of heard) {
    // Celery's own count and the file's may be a moment apart: the larger one is true of at least one of the moments.
    running += Math.max(active, sum(extra?.running));
    held += sum(extra?.held);
    scheduled += extra?.scheduled ?? 0;
    for (const [queue, tasks] of Object.entries(extra?.running ?? {})) of(queue).running += tasks;
    for (const [queue, tasks] of Object.entries(extra?.held ?? {})) of(queue).held += tasks;
  }
  const changedAtMs = Math.max(...heard.map((report) => report.changedAtMs));
  const sums = { running, held, scheduled, changedAtMs };
  if (silentPods.length > 0) {
    return { kind: 'unknown', why: silence(silentPods, reports, nowMs), silentPods, atLeast: sums };
  }
  return { kind: 'ok', ...sums, byQueue: Object.fromEntries(byQueue), silentPods: [] };
}

function sum(counts: Readonly<Record<string, number>> | undefined): number {
  return Object.values(counts ?? {}).reduce((total, each) => total + each, 0);
}

function silence(pods: readonly string[], reports: readonly WorkerReport[], nowMs: number): string {
  const [first = ''] = pods;
  const last = Math.max(...reports.filter(({ pod }) => pod === first).map((report) => report.receivedAtMs));
  const since = Number.isFinite(last) ? `for ${String(Math.round((nowMs - last) / 1000))} s` : 'yet';
  const others = pods.length === 1 ? '' : `, nor from ${String(pods.length - 1)} more`;
  return `no heartbeat from the worker in pod ${first} ${since}${others}`;
}
