#!/usr/bin/env node
/**
 * The command `muster-worker`: settings → tasks → worker → signals. The composition root of the worker.
 *
 * Exit codes: 0 after an end in order, 1 after a failure, 2 when it was started with something it cannot use.
 */
import './heap.ts';
import { readFileSync } from 'node:fs';
import { Registry, collectDefaultMetrics } from 'prom-client';
import { systemClock as clock } from '../operator/runtime/clock.ts';
import { createLogger } from '../operator/runtime/log.ts';
import { listenForShutdown } from '../operator/runtime/signals.ts';
import { ConfigError, parseConfig, type Config } from './config.ts';
import { startProbes } from './health.ts';
import { loadTasks } from './tasksFile.ts';
import { UncaughtError } from './task/errors.ts';
import { startWorker, type Worker } from './worker.ts';

const version = process.env['MUSTER_VERSION'] ?? '0.1.0-dev';

/** The most (s) that running tasks may go on after an exception that nobody caught: it takes nothing new meanwhile. */
const crashDrainSeconds = 30;

/** Runs until it is told to end; resolves to the exit code. */
async function run(config: Config): Promise<number> {
  const tasks = await loadTasks(config.tasks);
  const log = createLogger(config.logLevel);
  const shutdown = listenForShutdown(log);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const worker = startWorker({
    config,
    tasks,
    clock,
    log,
    version,
    ...(config.port === undefined ? {} : { registry }),
  });
  /** Aborts when those that run may go on no longer. */
  const deadline = new AbortController();
  const endWithin = (seconds: number): void => void clock.setTimer(seconds * 1000, () => deadline.abort());
  // After an exception that nobody caught the process may be in any state: it ends, in order but soon, with 1.
  const crash = new AbortController();
  process.on('uncaughtException', (err: unknown) => {
    const request = worker.leftBehind.current();
    const { task, id } = request?.message ?? {};
    const withinSeconds = Math.min(config.drainSeconds, crashDrainSeconds);
    log.error('an exception was caught by nobody; the worker ends', { task, id, withinSeconds, err });
    endWithin(withinSeconds);
    // First: the slot of the task that threw must not start another.
    crash.abort();
    if (request?.phase === 'running') request.giveUp?.(new UncaughtError(err));
  });
  // Tasks are other people's code: a promise that one leaves behind must not end those that run beside it.
  process.on('unhandledRejection', (err, promise) => {
    const request = worker.leftBehind.rejected(promise, err);
    if (request === undefined) log.error('a promise was rejected and nobody waits for it', { err });
    else if (request.phase !== 'running') {
      const { task, id } = request.message;
      log.error('a task that has ended left a promise behind that was rejected', { task, id, err });
    }
  });
  process.on('rejectionHandled', (promise) => worker.leftBehind.handled(promise));
  const { port, listenAddress } = config;
  // It takes no more: whoever watches is to see that it is on its way out.
  const state: Worker['consumer']['state'] = () =>
    crash.signal.aborted ? { kind: 'refused', why: 'an exception was caught by nobody' } : worker.consumer.state();
  const probed: Worker = { ...worker, consumer: { ...worker.consumer, state } };
  const probes =
    port === undefined ? undefined : await startProbes({ port, listenAddress, worker: probed, registry, log });
  const { hostname, queues, concurrency, prefetch, ack } = config;
  log.info('consuming', { hostname, queues, concurrency, prefetch, ack, tasks: tasks.map(({ name }) => name) });
  await new Promise<void>((resolve) => {
    for (const signal of [shutdown.signal, worker.shutdown, crash.signal]) {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    }
  });
  endWithin(config.drainSeconds);
  await worker.stop(deadline.signal);
  await probes?.();
  log.info('ended');
  await log.close();
  return crash.signal.aborted ? 1 : 0;
}

try {
  const parsed = parseConfig(process.argv.slice(2), version, (path) => readFileSync(path, 'utf8'));
  if (parsed.kind === 'text') process.stdout.write(parsed.text);
  else {
    const code = await run(parsed.config);
    process.exit(code); // A promise that a task left behind must not keep the process.
  }
} catch (err) {
  const isConfig = err instanceof ConfigError;
  process.stderr.write(
    `muster-worker: ${err instanceof Error ? (isConfig ? err.message : (err.stack ?? err.message)) : String(err)}\n`,
  );
  // What was opened before it failed must not keep the process.
  process.exit(isConfig ? 2 : 1);
}
