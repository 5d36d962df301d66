/** Node workers with the tasks of nodeapps/tasks.ts, in processes of their own, and plain Python producers for them. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

const main = fileURLToPath(new URL('../../worker/main.ts', import.meta.url));
const setpriv = '/usr/bin/setpriv';

/** The path of a tasks file of the tests. */
export const tasksFile = fileURLToPath(new URL('nodeapps/tasks.ts', import.meta.url));

/** A worker process, running or ended. */
export interface TaskWorker {
  readonly pid: number;
  /** All that it printed so far. */
  output(): string;
  /** The part of it that went to stderr. */
  errors(): string;
  signal(name: NodeJS.Signals): void;
  /** Resolves, when it has ended, with its exit code or the signal that ended it. */
  ended(): Promise<number | NodeJS.Signals>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
}

/** Runs the command with these arguments; the kernel ends it with the test process. */
export function runWorker(args: readonly string[], env: Readonly<Record<string, string>> = {}): TaskWorker {
  const command = [process.execPath, '--import=tsx', main, ...args];
  const [program = '', ...rest] = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'KILL', '--', ...command] : command;
  const child = spawn(program, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    errors += text;
  });
  const ended = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1)),
  );
  return {
    pid: child.pid ?? 0,
    output: () => output,
    errors: () => errors,
    signal: (name) => void child.kill(name),
    ended: () => ended,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Starts a worker of the queue `work` and resolves when it is connected. Flags are those of the command, without dashes. */
export async function startTaskWorker(
  broker: string,
  gateDir: string,
  flags: Readonly<Record<string, string | number>> = {},
): Promise<TaskWorker> {
  const all = { tasks: tasksFile, queues: 'work', broker, ...flags };
  const args = Object.entries(all).map(([flag, value]) => `--${flag}=${value}`);
  const worker = runWorker(args, { GATE_DIR: gateDir });
  try {
    await eventually(
      () => {
        if (!worker.output().includes('"connected"')) throw new Error(`the worker did not start:\n${worker.output()}`);
        return true;
      },
      { timeoutMs: 40_000, intervalMs: 30 },
    );
  } catch (err) {
    await worker.kill();
    throw err;
  }
  return worker;
}

/** Python code that makes a producer for the queue `work`: `app`, and `send(name, args, kwargs, **options)`. */
export function producerCode(url: string, protocol: 1 | 2 = 2): string {
  return `
from celery import Celery
app = Celery(broker="${url}", backend="${url}")
app.conf.update(task_default_queue="work", task_protocol=${protocol})
def send(name, args=(), kwargs=None, **options):
    return app.send_task(name, args, kwargs, **options)
`;
}
