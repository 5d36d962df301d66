/**
 * The metrics of a worker. The label `task` takes only names that are registered here, so that a producer cannot make
 * series by sending names; all states are closed. Every series of a task is there from the start, with 0.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Executor, Observer } from './execution/executor.ts';
import type { Request } from './execution/request.ts';

/** Outcomes of a task. */
const states = ['SUCCESS', 'FAILURE', 'RETRY', 'REVOKED', 'REJECTED', 'IGNORED'] as const;
/** Why a message never became a task. */
const reasons = ['malformed', 'refused', 'unknown', 'revoked', 'expired'] as const;
const seconds = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600, 3600];

/** What metrics read when they are scraped. */
export interface MetricsSource {
  readonly executor: () => Executor;
  /** Whether the broker is connected. */
  readonly isConnected: () => boolean;
}

/** Registers the metrics; gives what to tell of tasks. */
export function createWorkerMetrics(registry: Registry, tasks: readonly string[], source: MetricsSource): Observer {
  const registers = [registry];
  const ended = new Counter({
    name: 'muster_worker_tasks_total',
    help: 'Tasks that ended, by how.',
    labelNames: ['task', 'state'],
    registers,
  });
  const dropped = new Counter({
    name: 'muster_worker_messages_dropped_total',
    help: 'Messages that did not run, by why.',
    labelNames: ['reason'],
    registers,
  });
  const run = new Histogram({
    name: 'muster_worker_task_run_seconds',
    help: 'How long tasks ran.',
    labelNames: ['task'],
    buckets: seconds,
    registers,
  });
  const wait = new Histogram({
    name: 'muster_worker_task_wait_seconds',
    help: 'How long tasks waited in this worker for a slot (and for their time, if they had one). The queue is not in it.',
    labelNames: ['task'],
    buckets: seconds,
    registers,
  });
  const gauge = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read());
      },
    });
  gauge('muster_worker_slots', 'Task slots.', () => source.executor().slots.size);
  gauge('muster_worker_running_tasks', 'Tasks that run.', () => source.executor().slots.running);
  gauge(
    'muster_worker_prefetched_tasks',
    'Tasks that are held and wait for a slot.',
    () => source.executor().slots.waiting,
  );
  gauge('muster_worker_broker_up', '1 while the broker is connected.', () => (source.isConnected() ? 1 : 0));

  // Looked up once: a label is hashed at every look, and a worker may run 20,000 tasks a second.
  const byTask = new Map(
    tasks.map((task) => [
      task,
      {
        run: run.labels({ task }),
        wait: wait.labels({ task }),
        ended: new Map<string, Counter.Internal>(states.map((state) => [state, ended.labels({ task, state })])),
      },
    ]),
  );
  for (const { ended: each } of byTask.values()) for (const counter of each.values()) counter.inc(0);
  for (const task of tasks) {
    run.zero({ task });
    wait.zero({ task });
  }
  for (const reason of reasons) dropped.inc({ reason }, 0);
  const of = ({ message }: Request): ReturnType<typeof byTask.get> => byTask.get(message.task);

  return {
    received: () => undefined,
    started: (request) =>
      of(request)?.wait.observe(((request.startedAtMs ?? request.receivedAtMs) - request.receivedAtMs) / 1000),
    ended(request, state, runSeconds) {
      const series = of(request);
      series?.run.observe(runSeconds);
      series?.ended.get(state)?.inc();
    },
    dropped: (why) => dropped.inc({ reason: why }),
  };
}
