/** The Node worker as a process of its own, as a user starts it, from the source. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A worker process. */
export interface NodeWorker {
  readonly pid: number;
  /** Everything that it logged so far, line by line as JSON; other output is a string. */
  log(): (Record<string, unknown> | string)[];
  /** All output as text. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** Resolves with the exit code, or the signal that ended it. */
  ended(): Promise<number | NodeJS.Signals>;
  /** SIGTERM, and SIGKILL when that is not enough; for `afterEach`. */
  stop(): Promise<void>;
}

/** The path of a tasks file of the tests. */
export const nodeApp = (name: string): string => fileURLToPath(new URL(`nodeapps/${name}`, import.meta.url));

/** Starts a worker and does not wait for it. */
export function spawnNodeWorker(args: readonly string[], env: Readonly<Record<string, string>> = {}): NodeWorker {
  const child = spawn(process.execPath, ['--import=tsx', 'worker/main.ts', ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const ended = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1)),
  );
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  return {
    pid: child.pid ?? 0,
    output: () => output,
    log: () =>
      output
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => {
          try {
            return JSON.parse(line) as Record<string, unknown>;
          } catch {
            return line;
          }
        }),
    signal: (name) => void child.kill(name),
    ended: () => ended,
    async stop() {
      if (isRunning()) child.kill('SIGTERM');
      const guard = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(guard);
    },
  };
}

/** Starts a worker and waits until it consumes. */
export async function startNodeWorker(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<NodeWorker> {
  const worker = spawnNodeWorker(args, env);
  await eventually(
    () => {
      if (!worker.output().includes('"connected"')) throw new Error(`the worker did not start:\n${worker.output()}`);
    },
    { timeoutMs: 30_000 },
  );
  return worker;
}
