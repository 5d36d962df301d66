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
import { startWorker } from './worker.ts';

const version = process.env['MUSTER_VERSION'] ?? '0.1.0-dev';

/** Runs until it is told to end; resolves to the exit code. */
async function run(config: Config): Promise<number> {
  const tasks = await loadTasks(config.tasks);
  const log = createLogger(config.logLevel);
  const shutdown = listenForShutdown(log);
  // After an exception that nobody caught the process may be in any state: it ends, in order, with 1.
  const crash = new AbortController();
  process.on('uncaughtException', (err) => {
    log.error('an exception was caught by nobody; the worker ends', { err });
    crash.abort();
  });
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
  const probes = port === undefined ? undefined : await startProbes({ port, listenAddress, worker, registry, log });
  const { hostname, queues, concurrency, prefetch, ack } = config;
  log.info('consuming', { hostname, queues, concurrency, prefetch, ack, tasks: tasks.map(({ name }) => name) });
  await new Promise<void>((resolve) => {
    for (const signal of [shutdown.signal, worker.shutdown, crash.signal]) {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    }
  });
  await worker.stop(AbortSignal.timeout(config.drainSeconds * 1000));
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
