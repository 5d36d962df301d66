/** What runs in a worker thread: it loads the tasks files once and runs one task at a time. */
import { randomUUID } from 'node:crypto';
import { isMainThread, workerData } from 'node:worker_threads';
import { systemClock } from '../../operator/runtime/clock.ts';
import { createLogger } from '../../operator/runtime/log.ts';
import type { PythonException } from '../protocol/failure.ts';
import { encodeJson } from '../protocol/kombuJson.ts';
import { parseMessage, type TaskMessage } from '../protocol/message.ts';
import type { TaskContext } from '../task/context.ts';
import { Ignore, reasonOfAbort, Reject, Replaced, Retry, SoftTimeLimitExceeded } from '../task/errors.ts';
import { createRegistry, type Registry } from '../task/registry.ts';
import { loadTasks } from '../tasksFile.ts';
import { createLeftBehind, type Maker } from './leftBehind.ts';
import type { ThreadData, ThreadOutcome, ThreadTask, ThreadWish } from './threadProtocol.ts';

// Loaded by the pool as a thread only; in the main thread there are no files.
const loading: Promise<Registry> | undefined = isMainThread ? undefined : load(workerData as ThreadData);

/** The run of a task in this thread. */
interface Run extends Maker {
  readonly message: TaskMessage;
  isOver: boolean;
}
const leftBehind = createLeftBehind<Run>();
if (!isMainThread) {
  // Without this the thread would end, and with it whatever runs in it then.
  process.on('unhandledRejection', (err, promise) => {
    const run = leftBehind.rejected(promise, err);
    if (run?.isOver === false) return;
    const { task, id } = run?.message ?? {};
    createLogger('error').error('a promise of a thread was rejected and nobody waits for it', { task, id, err });
  });
  process.on('rejectionHandled', (promise) => leftBehind.handled(promise));
}

async function load({ files }: ThreadData): Promise<Registry> {
  return createRegistry(await loadTasks(files));
}

/** Runs one task; whatever happens is an outcome. */
export default async function runInThread({ raw, softTimeLimitSeconds, port }: ThreadTask): Promise<ThreadOutcome> {
  const parsed = parseMessage(raw);
  if (parsed.kind !== 'ok') throw new TypeError(parsed.why); // the main thread has read it already
  const { message } = parsed;
  const abort = new AbortController();
  const timer =
    softTimeLimitSeconds === undefined
      ? undefined
      : systemClock.setTimer(softTimeLimitSeconds * 1000, () =>
          abort.abort(new SoftTimeLimitExceeded(softTimeLimitSeconds)),
        );
  const run: Run = { message, isOver: false, leftBehind: undefined };
  const ask = (wish: ThreadWish): void => port.postMessage(wish);
  try {
    const task = (await loading)?.find(message.task);
    if (task === undefined) throw new Error(`${message.task} is not in the files of the thread`);
    const context: TaskContext = {
      ...{ id: message.id, name: message.task, retries: message.retries, kwargs: message.kwargs, request: message },
      signal: abort.signal,
      retry: ({ delaySeconds, cause } = {}) =>
        new Retry(cause instanceof Error ? cause.message : undefined, { delaySeconds, cause }),
      updateState: (state, meta) => ask({ kind: 'state', state, meta: encodeJson(meta ?? null, 'the state') }),
      send: (signature) => {
        const id = randomUUID();
        ask({ kind: 'start', id, signature: encodeJson(signature, 'the signature') });
        return id;
      },
      replace: (by) => new Replaced(by),
    };
    const args = task.options.parseArgs?.(message.args) ?? message.args;
    const value: unknown = await leftBehind.follow(run, () => task.run(context, ...(args as never[])));
    // A turn later it shows what was left behind.
    await new Promise((resolve) => setImmediate(resolve));
    if (run.leftBehind !== undefined) throw run.leftBehind.error;
    return { kind: 'returned', value: encodeJson(value ?? null, 'the result') };
  } catch (error) {
    return describe(reasonOfAbort(error, abort.signal));
  } finally {
    timer?.cancel();
    run.isOver = true;
    ask({ kind: 'end' });
    port.close();
  }
}

function describe(error: unknown): ThreadOutcome {
  const wish =
    error instanceof Retry
      ? ({
          kind: 'retry',
          delaySeconds: error.delaySeconds,
          cause: error.cause === undefined ? undefined : describe(error.cause),
        } as const)
      : error instanceof Reject
        ? ({ kind: 'reject', requeue: error.requeue } as const)
        : error instanceof Ignore
          ? ({ kind: 'ignore' } as const)
          : error instanceof Replaced
            ? ({ kind: 'replace', by: encodeJson(error.by, 'the signature') } as const)
            : undefined;
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const { python } = (typeof error === 'object' && error !== null ? error : {}) as { python?: PythonException };
  return { kind: 'threw', name, message, stack, python, classes: classesOf(error), wish };
}

function classesOf(error: unknown): string[] {
  const names: string[] = [];
  for (let at: unknown = error; typeof at === 'object' && at !== null; at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at, 'constructor')) names.push((at as { constructor: { name: string } }).constructor.name);
  }
  return names;
}
