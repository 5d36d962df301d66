/** What runs in a worker thread: it loads the tasks files once and runs one task at a time. */
import { isMainThread, workerData } from 'node:worker_threads';
import type { PythonException } from '../protocol/failure.ts';
import type { TaskContext } from '../task/context.ts';
import { Ignore, Reject, Retry, SoftTimeLimitExceeded } from '../task/errors.ts';
import { createRegistry, type Registry } from '../task/registry.ts';
import { loadTasks } from '../tasksFile.ts';
import type { ThreadData, ThreadOutcome, ThreadState, ThreadTask } from './threadProtocol.ts';

// Loaded by the pool as a thread only; in the main thread there are no files.
const loading: Promise<Registry> | undefined = isMainThread ? undefined : load(workerData as ThreadData);

async function load({ files }: ThreadData): Promise<Registry> {
  return createRegistry(await loadTasks(files));
}

/** Runs one task; whatever happens is an outcome. */
export default async function runInThread({ message, softTimeLimitSeconds, port }: ThreadTask): Promise<ThreadOutcome> {
  const abort = new AbortController();
  const timer =
    softTimeLimitSeconds === undefined
      ? undefined
      : setTimeout(() => abort.abort(new SoftTimeLimitExceeded(softTimeLimitSeconds)), softTimeLimitSeconds * 1000);
  try {
    const task = (await loading)?.find(message.task);
    if (task === undefined) throw new Error(`${message.task} is not in the files of the thread`);
    const context: TaskContext = {
      ...{ id: message.id, name: message.task, retries: message.retries, kwargs: message.kwargs, request: message },
      signal: abort.signal,
      retry: ({ delaySeconds, cause } = {}) =>
        new Retry(cause instanceof Error ? cause.message : undefined, { delaySeconds, cause }),
      updateState: (state, meta) => port.postMessage({ state, meta } satisfies ThreadState),
    };
    const args = task.options.parseArgs?.(message.args) ?? message.args;
    return { kind: 'returned', value: await task.run(context, ...(args as never[])) };
  } catch (error) {
    return describe(error);
  } finally {
    clearTimeout(timer);
    port.close();
  }
}

function describe(error: unknown): ThreadOutcome {
  const wish =
    error instanceof Retry
      ? ({ kind: 'retry', delaySeconds: error.delaySeconds } as const)
      : error instanceof Reject
        ? ({ kind: 'reject', requeue: error.requeue } as const)
        : error instanceof Ignore
          ? ({ kind: 'ignore' } as const)
          : undefined;
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const { python } = (typeof error === 'object' && error !== null ? error : {}) as { python?: PythonException };
  return { kind: 'threw', name, message, stack, python, wish };
}
