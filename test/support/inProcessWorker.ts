/** A Node worker inside the test process, with tasks that the test holds in its hand. */
import type { Clock } from '../../operator/runtime/clock.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { parseConfig } from '../../worker/config.ts';
import { task, type Task } from '../../worker/task/define.ts';
import { startWorker, type Worker } from '../../worker/worker.ts';
import { silentLog } from './silentLog.ts';

/** Tasks that wait until the test lets them go on. */
export interface Gates {
  /** `gate.wait(name)` and `gate.late(name)` (deaf to its signal). */
  readonly tasks: readonly Task[];
  /** Names of the runs that began, in order. */
  readonly started: readonly string[];
  /** Why the signals of runs aborted, by name. */
  readonly aborted: ReadonlyMap<string, unknown>;
  /** Lets one go on, also one that has not begun. */
  open(name: string): void;
  openAll(): void;
}

/** Makes gates, all closed. */
export function makeGates(): Gates {
  const started: string[] = [];
  const aborted = new Map<string, unknown>();
  const opened = new Set<string>();
  const waiting = new Map<string, Set<() => void>>();
  let isOpen = false;
  const wait = (name: string): Promise<string> =>
    new Promise((resolve) => {
      if (isOpen || opened.has(name)) return resolve(name);
      const set = waiting.get(name) ?? new Set();
      waiting.set(
        name,
        set.add(() => resolve(name)),
      );
    });
  const open = (name: string): void => {
    opened.add(name);
    for (const go of waiting.get(name) ?? []) go();
  };
  return {
    tasks: [
      task('gate.wait', {}, (ctx, name: string) => {
        started.push(name);
        return new Promise<string>((resolve, reject) => {
          void wait(name).then(resolve);
          ctx.signal.addEventListener('abort', () => {
            aborted.set(name, ctx.signal.reason);
            reject(ctx.signal.reason as Error);
          });
        });
      }),
      task('gate.late', {}, (_ctx, name: string) => {
        started.push(name);
        return wait(name);
      }),
    ],
    started,
    aborted,
    open,
    openAll() {
      isOpen = true;
      for (const name of waiting.keys()) open(name);
    },
  };
}

/** Starts a worker with the flags of `muster-worker`. */
export function startNodeWorker(
  url: string,
  tasks: readonly Task[],
  flags: readonly string[] = [],
  clock: Clock = systemClock,
): Worker {
  const parsed = parseConfig(['--tasks', 'none', '--broker', url, ...flags], '0', () => '');
  if (parsed.kind !== 'config') throw new Error('the flags ask for a text');
  return startWorker({ config: parsed.config, tasks, clock, log: silentLog, version: '0' });
}
