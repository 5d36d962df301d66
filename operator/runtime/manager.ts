/**
 * Starts the parts of a process in order and stops them in the opposite one: servers before caches before controllers,
 * and the other way round, so that a controller never works without its cache. A part that ends before it was told to
 * ends them all: half an operator looks healthy and is not.
 */
import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';

/** A part of the process. */
export interface Runnable {
  readonly name: string;
  /** Runs until the signal aborts, then ends in good order. A rejection, or an end before that, stops the process. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when the parts after it may start (a cache has synced, a server listens). At once when absent. */
  ready?(signal: AbortSignal): Promise<void>;
}

/** Runs parts together. */
export interface Manager {
  /** Adds a part; those added first start first and stop last. Before `run` only. */
  add(runnable: Runnable): void;
  /** Runs all until the signal aborts. Rejects with the first failure, after everything has been stopped. */
  run(signal: AbortSignal): Promise<void>;
}

interface Started {
  readonly name: string;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Builds an empty manager.
 * @param options.stopTimeoutMs how long all parts together may take to stop; those still running are named in a log
 *   line and left behind, because Kubernetes kills the process soon after
 */
export function createManager(options: {
  readonly clock: Clock;
  readonly log: Logger;
  readonly stopTimeoutMs: number;
}): Manager {
  const { clock, log, stopTimeoutMs } = options;
  const runnables: Runnable[] = [];

  const stopAll = async (started: readonly Started[]): Promise<void> => {
    const startMs = clock.monotonicMs();
    for (const { name, stop, ended } of started.toReversed()) {
      stop.abort();
      const leftMs = Math.max(0, stopTimeoutMs - (clock.monotonicMs() - startMs));
      const inTime = new AbortController();
      const end = ended.then(() => inTime.abort());
      await Promise.race([end, clock.sleep(leftMs, inTime.signal)]);
      if (!inTime.signal.aborted)
        log.warn('a part did not stop in time and is left behind', { part: name, stopTimeoutMs });
    }
  };

  return {
    add: (runnable) => void runnables.push(runnable),
    run: async (signal) => {
      const started: Started[] = [];
      const over = new AbortController();
      const onSignal = (): void => over.abort();
      signal.addEventListener('abort', onSignal, { once: true });
      if (signal.aborted) onSignal();
      const failures: unknown[] = [];
      const fail = (err: unknown): void => {
        if (!over.signal.aborted) failures.push(err);
        over.abort();
      };

      for (const runnable of runnables) {
        if (over.signal.aborted) break;
        const { name } = runnable;
        const stop = new AbortController();
        log.debug('starting', { part: name });
        const ended = runnable.run(stop.signal).then(
          () => {
            if (!stop.signal.aborted) fail(new Error(`${name} ended before it was told to`));
          },
          (err: unknown) => {
            if (stop.signal.aborted) log.warn('a part failed while stopping', { part: name, err });
            else fail(new Error(`${name} failed`, { cause: err }));
          },
        );
        started.push({ name, stop, ended });
        // A part may never become ready: then the end of everything, or its own, is what to wait for.
        await Promise.race([untilAborted(over.signal), ready(runnable, over.signal, fail)]);
      }
      await untilAborted(over.signal);
      signal.removeEventListener('abort', onSignal);
      await stopAll(started);
      if (failures.length > 0) throw failures[0];
    },
  };
}

async function ready(runnable: Runnable, signal: AbortSignal, fail: (err: unknown) => void): Promise<void> {
  try {
    await runnable.ready?.(signal);
  } catch (err) {
    if (!signal.aborted) fail(new Error(`${runnable.name} did not become ready`, { cause: err }));
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
