/**
 * Worker threads, for tasks that use the CPU (one that computes in the main thread holds up every other task, the
 * heartbeats and the probes) and for time limits that end a task whatever it does: its thread is ended with it.
 */
import { MessageChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { Signature } from '../protocol/signature.ts';
import { Ignore, Reject, Replaced, Retry } from '../task/errors.ts';
import { readValue, type ThreadOutcome, type ThreadTask, type ThreadWish } from './threadProtocol.ts';

/** Threads that run tasks. */
export interface Threads {
  /**
   * Runs the task of a message in a thread. Rejects with what the task threw, or with the reason of `signal` when that aborts; the thread
   * is ended then.
   */
  run(
    raw: string,
    options: {
      readonly signal: AbortSignal;
      readonly softTimeLimitSeconds: number | undefined;
      readonly onState: (state: string, meta: unknown) => void;
      /** Starts a child whose result has this id; what it throws is what the task ends with. */
      readonly onStart: (signature: Signature, id: string) => void;
    },
  ): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * Builds the threads; none is started before it is needed.
 * @param files the modules that export the tasks, loaded again in every thread
 */
export function createThreads(files: readonly string[]): Threads {
  let pool: Piscina<ThreadTask, ThreadOutcome> | undefined;
  const started = (): Piscina<ThreadTask, ThreadOutcome> => {
    // The bundle has the thread's file beside it.
    const file = import.meta.url.endsWith('.ts') ? './threadMain.ts' : './threadMain.mjs';
    // Not bounded here: the slots of the worker bound it, and their number changes.
    pool ??= new Piscina({
      filename: new URL(file, import.meta.url).href,
      ...{ minThreads: 0, maxThreads: 10_000, idleTimeout: 60_000, workerData: { files } },
    });
    return pool;
  };

  return {
    async run(raw, { signal, softTimeLimitSeconds, onState, onStart }) {
      const { port1, port2 } = new MessageChannel();
      let refused: Error | undefined;
      const saidAll = new Promise<void>((resolve) => {
        port1.on('message', (wish: ThreadWish) => {
          try {
            if (wish.kind === 'state') onState(wish.state, readValue(wish.meta));
            else if (wish.kind === 'start') onStart(readValue(wish.signature) as Signature, wish.id);
            else resolve();
          } catch (error) {
            refused ??= error instanceof Error ? error : new Error(String(error));
          }
        });
      });
      port1.unref();
      try {
        const task: ThreadTask = { raw, softTimeLimitSeconds, port: port2 };
        const outcome = await started().run(task, { signal, transferList: [port2] });
        // What the thread asked for before its end may come after it.
        await saidAll;
        if (refused !== undefined) throw refused;
        if (outcome.kind === 'returned') return readValue(outcome.value);
        throw revive(outcome);
      } catch (error) {
        throw signal.aborted ? signal.reason : error;
      } finally {
        port1.close();
      }
    },
    close: async () => pool?.destroy(),
  };
}

function revive(outcome: Extract<ThreadOutcome, { kind: 'threw' }>): Error {
  const { name, message, stack, python, classes, wish } = outcome;
  if (wish?.kind === 'retry') {
    const { delaySeconds, cause } = wish;
    return new Retry(message, { delaySeconds, ...(cause?.kind === 'threw' ? { cause: revive(cause) } : {}) });
  }
  if (wish?.kind === 'reject') return new Reject(message, { requeue: wish.requeue });
  if (wish?.kind === 'ignore') return new Ignore(message);
  if (wish?.kind === 'replace') return new Replaced(readValue(wish.by) as Signature);
  const error: Error & { musterClasses?: readonly string[] } = new Error(message);
  error.name = name;
  error.musterClasses = classes;
  if (stack !== undefined) error.stack = stack;
  return python === undefined ? error : Object.assign(error, { python });
}
