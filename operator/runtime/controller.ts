/**
 * The loop from queue to reconcile and back: workers, a time limit, retry with backoff, and one log line per failure.
 * What a reconcile may answer is a union, so that "failed, and try again in an hour" cannot be written.
 *
 *   done ─────────► forget the failures          requeueAfter ─► forget, come back then
 *   terminal ─────► forget, until it changes     throws ───────► come back after the key's backoff
 */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';
import type { ControllerMetrics, ReconcileOutcome } from './metrics.ts';
import type { WorkQueue } from './workqueue.ts';

/** What a reconcile came to. `terminal`: only a change of the object can mend it. */
export type Result =
  | { readonly kind: 'done' }
  | { readonly kind: 'requeueAfter'; readonly ms: number; readonly why: string }
  | { readonly kind: 'terminal'; readonly reason: string; readonly message: string };

/** What a reconcile is given besides its key. */
export interface ReconcileContext {
  /** Aborts on the time limit and at shutdown: to be passed to every request and looked at before every write. */
  readonly signal: AbortSignal;
  /** Carries `controller`, `namespace`, `name` and `reconcileID`. */
  readonly log: Logger;
  readonly reconcileID: string;
}

/** What a controller is built from. */
export interface ControllerOptions {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly reconcile: (key: string, context: ReconcileContext) => Promise<Result>;
  /** Keys worked on at once. */
  readonly workers: number;
  /** Milliseconds a reconcile may take. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ControllerMetrics;
  /** Errors that are ordinary (a write conflict): retried like the others, but logged for developers only. */
  readonly isQuiet?: (err: unknown) => boolean;
}

/** A running controller. */
export interface Controller {
  /** Runs the workers until the signal aborts and every reconcile under way has returned; never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

/** Errors that mean the code is wrong, not the world. */
const programmingErrors = [TypeError, ReferenceError, RangeError, SyntaxError];

/** Builds a controller. It does nothing until run. */
export function createController(options: ControllerOptions): Controller {
  const { name, queue, clock, metrics, workers } = options;
  const isQuiet = options.isQuiet ?? (() => false);
  metrics.workers(workers);

  const reconcileKey = async (key: string, stop: AbortSignal): Promise<void> => {
    const startMs = clock.monotonicMs();
    const reconcileID = randomUUID();
    const log = options.log.child({ controller: name, ...namesOf(key), reconcileID });
    const abort = new AbortController();
    setMaxListeners(0, abort.signal); // Every request under way listens: dozens at once are no leak.
    const onStop = (): void => abort.abort();
    stop.addEventListener('abort', onStop, { once: true });
    if (stop.aborted) onStop();
    let timedOut = false;
    const timer = clock.setTimer(options.timeoutMs, () => {
      timedOut = true;
      metrics.timedOut();
      log.warn('reconcile took too long and was told to stop', { timeoutMs: options.timeoutMs });
      abort.abort();
    });
    const finish = (outcome: ReconcileOutcome): void =>
      metrics.reconciled(outcome, (clock.monotonicMs() - startMs) / 1000);
    try {
      const result = await options.reconcile(key, { signal: abort.signal, log, reconcileID });
      queue.forget(key);
      switch (result.kind) {
        case 'done':
          finish('success');
          break;
        case 'requeueAfter':
          log.debug('coming back', { afterMs: result.ms, why: result.why });
          queue.addAfter(key, result.ms);
          finish('requeue_after');
          break;
        case 'terminal':
          log.warn('waiting for the object to change', { reason: result.reason, detail: result.message });
          metrics.terminal();
          finish('error');
      }
    } catch (err) {
      if (stop.aborted) return; // Cut short by the shutdown: not a failure, and the next leader starts afresh.
      if (programmingErrors.some((each) => err instanceof each)) metrics.panicked();
      metrics.failed();
      finish('error');
      queue.addRateLimited(key);
      const fields = { err, failures: queue.failures(key), timedOut };
      if (isQuiet(err)) log.debug('reconcile failed, trying again', fields);
      else log.error('reconcile failed, trying again', fields);
    } finally {
      timer.cancel();
      stop.removeEventListener('abort', onStop);
    }
  };

  const work = async (signal: AbortSignal): Promise<void> => {
    for (let key = await queue.get(signal); key !== undefined; key = await queue.get(signal)) {
      metrics.active(1);
      await reconcileKey(key, signal);
      metrics.active(-1);
      queue.done(key);
    }
  };

  return {
    run: async (signal) => {
      await Promise.all(Array.from({ length: workers }, () => work(signal)));
    },
  };
}

function namesOf(key: string): { namespace?: string; name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
