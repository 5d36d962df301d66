/** Puts the parts of a worker together. Used by the command and by whoever runs a worker inside a program of their own. */
import { randomUUID } from 'node:crypto';
import type { Registry as MetricsRegistry } from 'prom-client';
import type { Clock } from '../operator/runtime/clock.ts';
import type { Logger } from '../operator/runtime/log.ts';
import type { Config } from './config.ts';
import { startControl, type Control } from './control/control.ts';
import { builtinTasks } from './canvas/builtins.ts';
import { createCanvas } from './canvas/continuation.ts';
import { createExecutor, type Executor, type Observer } from './execution/executor.ts';
import { createLeftBehind, type LeftBehind } from './pool/leftBehind.ts';
import type { Request } from './execution/request.ts';
import { createWorkerMetrics } from './metrics.ts';
import { createThreads } from './pool/threads.ts';
import { brokerKeys, resultKeys } from './protocol/keys.ts';
import { createChords } from './results/chord.ts';
import { createSharedBackend, noBackend } from './results/backend.ts';
import { createSeparateBackend, isSameRedis } from './results/separateBackend.ts';
import { createRoutesFile } from './routesFile.ts';
import type { Task } from './task/define.ts';
import { createRegistry } from './task/registry.ts';
import { createConsumer, type Consumer } from './transport/consumer.ts';

/** A worker that consumes. */
export interface Worker {
  readonly consumer: Consumer;
  readonly executor: Executor;
  /** What the process is told of promises that nobody waits for (`unhandledRejection`, `rejectionHandled`). */
  readonly leftBehind: LeftBehind<Request>;
  /** Aborts when remote control asks the worker to end; whoever started it then calls `stop`. */
  readonly shutdown: AbortSignal;
  /**
   * Ends in order: takes nothing more, hands back what does not run, waits for what runs until `deadline` aborts, then
   * hands back late tasks. Resolves when Redis has taken it all, or cannot be reached.
   */
  stop(deadline: AbortSignal): Promise<void>;
}

/** What a worker is made of. */
export interface WorkerOptions {
  readonly config: Config;
  readonly tasks: readonly Task[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the worker, as heartbeats tell it. Default: unknown. */
  readonly version?: string;
  /** Where metrics are registered; without it none are kept. */
  readonly registry?: MetricsRegistry;
}

/** The most (ms) that connecting or a round trip may take, and the last flush of a worker that ends. */
const timeoutMs = 10_000;

/** Starts a worker. Throws when two tasks have one name. */
export function startWorker({
  config,
  tasks,
  clock,
  log,
  version = 'unknown',
  registry: metrics,
}: WorkerOptions): Worker {
  const registry = createRegistry(
    tasks,
    builtinTasks((name) => registry.find(name), randomUUID),
  );
  const results = resultKeys(config.resultKeyPrefix);
  const keys = brokerKeys({ keyPrefix: config.keyPrefix, prioritySteps: config.prioritySteps });
  const consumer: Consumer = createConsumer({
    ...{ endpoint: config.broker, keys, queues: config.queues, clock, log, timeoutMs },
    consumerId: randomUUID(),
    visibilityTimeoutSeconds: config.visibilityTimeoutSeconds,
    credit: () => executor.credit(),
    beforeFlush: () => executor.settle(),
    onDelivery: (delivery) => executor.receive(delivery),
  });
  const separate =
    config.backend === undefined || isSameRedis(config.backend, config.broker)
      ? undefined
      : createSeparateBackend({
          ...{ endpoint: config.backend, keys: results, clock, log, timeoutMs },
          keepSeconds: config.resultExpiresSeconds,
        });
  const send = consumer.send.bind(consumer);
  const backend =
    config.backend === undefined
      ? noBackend
      : (separate ?? createSharedBackend(results, config.resultExpiresSeconds, send));
  const control: Control = startControl({
    ...{ config, version, backend, registry, keys, clock, log, timeoutMs },
    executor: () => executor,
    consumer: () => consumer,
  });
  const observers = [logObserver(log, config.logArgs), ...control.observers];
  if (metrics !== undefined) {
    const isConnected = (): boolean => consumer.state().kind === 'open';
    observers.push(createWorkerMetrics(metrics, registry.names, { executor: () => executor, isConnected }));
  }
  const chords =
    config.backend === undefined
      ? undefined
      : createChords({
          ...{ endpoint: config.backend, keys: results, clock, log, timeoutMs },
          ...(separate === undefined ? {} : { broker: config.broker }),
          keepSeconds: config.resultExpiresSeconds,
          newId: randomUUID,
        });
  const routed = config.routesFile === undefined ? () => undefined : createRoutesFile(config.routesFile, clock, log);
  const continuation = createCanvas({
    ...{ clock, log, resultKeys: results, keepSeconds: config.resultExpiresSeconds },
    ids: { newId: randomUUID, replyTo: randomUUID() },
    routing: {
      keys,
      queueOf: (task) => routed(task) ?? config.defaultQueue,
      origin: `${process.pid}@${hostOf(config.hostname)}`,
    },
    results: chords === undefined ? undefined : { chords, send: (command) => backend.send(command) },
    push: ({ tag, list, raw }) => consumer.push(tag, list, raw),
  });
  const threads = createThreads(config.tasks);
  const leftBehind = createLeftBehind<Request>();
  const executor: Executor = createExecutor({
    ...{ consumer: () => consumer, registry, backend, keys, clock, log, leftBehind },
    observer: combine(observers),
    continuation,
    isRevoked: control.isRevoked,
    timeLimits: control.timeLimits,
    threads,
    hostname: config.hostname,
    concurrency: config.concurrency,
    prefetch: config.prefetch,
    ackMode: config.ack,
  });

  return {
    consumer,
    executor,
    leftBehind,
    shutdown: control.shutdown,
    async stop(deadline) {
      consumer.pause(true);
      const handedBack = executor.handBack();
      log.info('ending', { handedBack, running: executor.slots.running });
      await executor.idle(deadline);
      const lost = executor.abandon();
      for (const { message } of lost)
        log.error('a task is lost: it was acknowledged and did not end in time', {
          task: message.task,
          id: message.id,
        });
      chords?.close();
      // Before the last acknowledgements: they follow the results.
      await separate?.close(AbortSignal.timeout(timeoutMs));
      await consumer.flushed(AbortSignal.timeout(timeoutMs));
      await control.stop();
      await consumer.close();
      await threads.close();
    },
  };
}

/** Tells each of several observers. */
function combine(observers: readonly Observer[]): Observer {
  return {
    received: (request) => observers.forEach((each) => each.received(request)),
    started: (request) => observers.forEach((each) => each.started(request)),
    ended: (request, state, runSeconds, error, value) =>
      observers.forEach((each) => each.ended(request, state, runSeconds, error, value)),
    dropped: (why, task, message) => observers.forEach((each) => each.dropped(why, task, message)),
  };
}

/** One line per task that did not succeed; those that did are for those who debug. */
function logObserver(log: Logger, logsArgs: boolean): Observer {
  return {
    received: () => undefined,
    started: () => undefined,
    ended({ message }, state, runSeconds, error) {
      const args = logsArgs ? { args: message.argsRepr, kwargs: message.kwargsRepr } : {};
      const fields = { task: message.task, id: message.id, state, runSeconds, ...args };
      if (state === 'SUCCESS') log.debug('task succeeded', fields);
      else if (state === 'FAILURE') log.error('task failed', { ...fields, err: error });
      else log.info('task ended', fields);
    },
    dropped: () => undefined,
  };
}

/** The host of a node name, `muster@host`. */
function hostOf(node: string): string {
  return node.slice(node.indexOf('@') + 1);
}
