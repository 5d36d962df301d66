/**
 * Metrics of the work queues and controllers, under controller-runtime's names, so that existing dashboards and alert
 * rules work. Every series starts at 0: a rate over a counter that appears with its first error shows nothing.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What one queue reports. */
export interface QueueMetrics {
  depth(length: number): void;
  added(): void;
  retried(): void;
  /** Seconds from being due to being taken. */
  waited(seconds: number): void;
  /** Seconds from being taken to done. */
  worked(seconds: number): void;
  /** Read at every scrape: seconds that the keys now being worked on have taken, sum and longest. */
  watchUnfinished(read: () => { sumSeconds: number; longestSeconds: number }): void;
}

/** How a reconcile ended, as controller-runtime names it. */
export type ReconcileOutcome = 'success' | 'requeue' | 'requeue_after' | 'error';

/** What one controller reports. */
export interface ControllerMetrics {
  reconciled(outcome: ReconcileOutcome, seconds: number): void;
  failed(): void;
  terminal(): void;
  panicked(): void;
  timedOut(): void;
  workers(max: number): void;
  active(change: 1 | -1): void;
}

/** Metrics of the runtime, created once per process. */
export interface RuntimeMetrics {
  queue(name: string): QueueMetrics;
  controller(name: string): ControllerMetrics;
}

const waitBuckets = [1e-3, 1e-2, 0.05, 0.1, 0.5, 1, 5, 10, 60];
const workBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Registers the metrics. */
export function createRuntimeMetrics(registry: Registry): RuntimeMetrics {
  const registers = [registry];
  const unfinished = new Map<string, () => { sumSeconds: number; longestSeconds: number }>();
  const byName = ['name', 'controller'] as const;
  const byController = ['controller'] as const;
  const eachUnfinished = (gauge: Gauge<'name' | 'controller'>, which: 'sumSeconds' | 'longestSeconds'): void => {
    for (const [name, read] of unfinished) gauge.set({ name, controller: name }, read()[which]);
  };

  const depth = new Gauge({
    name: 'workqueue_depth',
    help: 'Current depth of workqueue.',
    labelNames: byName,
    registers,
  });
  const adds = new Counter({
    name: 'workqueue_adds_total',
    help: 'Total number of adds handled by workqueue.',
    labelNames: byName,
    registers,
  });
  const retries = new Counter({
    name: 'workqueue_retries_total',
    help: 'Total number of retries handled by workqueue.',
    labelNames: byName,
    registers,
  });
  const waits = new Histogram({
    name: 'workqueue_queue_duration_seconds',
    help: 'How long in seconds an item stays in workqueue before being requested.',
    labelNames: byName,
    buckets: waitBuckets,
    registers,
  });
  const works = new Histogram({
    name: 'workqueue_work_duration_seconds',
    help: 'How long in seconds processing an item from workqueue takes.',
    labelNames: byName,
    buckets: workBuckets,
    registers,
  });
  new Gauge({
    name: 'workqueue_unfinished_work_seconds',
    help: 'How many seconds of work is in progress and has not been observed by work_duration.',
    labelNames: byName,
    registers,
    collect() {
      eachUnfinished(this, 'sumSeconds');
    },
  });
  new Gauge({
    name: 'workqueue_longest_running_processor_seconds',
    help: 'How many seconds has the longest running processor for workqueue been running.',
    labelNames: byName,
    registers,
    collect() {
      eachUnfinished(this, 'longestSeconds');
    },
  });
  const counter = (name: string, help: string): Counter<'controller'> =>
    new Counter({ name, help, labelNames: byController, registers });
  const reconciles = new Counter({
    name: 'controller_runtime_reconcile_total',
    help: 'Total number of reconciliations per controller.',
    labelNames: ['controller', 'result'],
    registers,
  });
  const errors = counter('controller_runtime_reconcile_errors_total', 'Total number of reconciliation errors.');
  const terminals = counter(
    'controller_runtime_terminal_reconcile_errors_total',
    'Total number of reconciliations that ended in an error that only a change of the object can mend.',
  );
  const panics = counter(
    'controller_runtime_reconcile_panics_total',
    'Total number of reconciliations that ended in a programming error.',
  );
  const timeouts = counter('controller_runtime_reconcile_timeouts_total', 'Total number of reconciliation timeouts.');
  const seconds = new Histogram({
    name: 'controller_runtime_reconcile_time_seconds',
    help: 'Length of time per reconciliation.',
    labelNames: byController,
    buckets: workBuckets,
    registers,
  });
  const maxWorkers = new Gauge({
    name: 'controller_runtime_max_concurrent_reconciles',
    help: 'Maximum number of concurrent reconciles.',
    labelNames: byController,
    registers,
  });
  const active = new Gauge({
    name: 'controller_runtime_active_workers',
    help: 'Number of currently used workers.',
    labelNames: byController,
    registers,
  });

  return {
    queue: (name) => {
      const labels = { name, controller: name };
      depth.set(labels, 0);
      adds.inc(labels, 0);
      retries.inc(labels, 0);
      waits.zero(labels);
      works.zero(labels);
      return {
        depth: (length) => depth.set(labels, length),
        added: () => adds.inc(labels),
        retried: () => retries.inc(labels),
        waited: (value) => waits.observe(labels, value),
        worked: (value) => works.observe(labels, value),
        watchUnfinished: (read) => void unfinished.set(name, read),
      };
    },
    controller: (controller) => {
      const labels = { controller };
      for (const result of ['success', 'requeue', 'requeue_after', 'error']) reconciles.inc({ controller, result }, 0);
      for (const each of [errors, terminals, panics, timeouts]) each.inc(labels, 0);
      active.set(labels, 0);
      seconds.zero(labels);
      return {
        reconciled: (result, value) => {
          reconciles.inc({ controller, result });
          seconds.observe(labels, value);
        },
        failed: () => errors.inc(labels),
        terminal: () => terminals.inc(labels),
        panicked: () => panics.inc(labels),
        timedOut: () => timeouts.inc(labels),
        workers: (max) => maxWorkers.set(labels, max),
        active: (change) => active.inc(labels, change),
      };
    },
  };
}
