/**
 * Real Celery for tests: installed once per version into the cache, workers started with the command and the
 * environment that the operator renders for a pool, tasks sent by a plain Python producer that knows nothing of Muster.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { cacheDir, makeOnce, pathExists } from '../../dev/install/cacheDir.ts';
import { commandPath } from '../../dev/install/commandPath.ts';
import { MissingError, sayOnStderr, type Say } from '../../dev/install/progress.ts';
import type { WorkerPool } from '../../operator/api/v1alpha1/workerpool.ts';
import { parseWorkerMessage, type MusterHeartbeat } from '../../operator/fleet/heartbeat.ts';
import { buildCommand } from '../../operator/plan/command.ts';
import { buildEnvironment } from '../../operator/plan/environment.ts';
import { paths } from '../../operator/plan/names.ts';
import { eventually } from './eventually.ts';
import type { RedisServer } from './redisServer.ts';

/** What pip is asked for. Celery leaves kombu and redis-py open, and behaves by them as much as by its own version. */
const requirements = {
  // Fresh installs of 5.3 and 5.4 get a kombu that their redis-py is too old for, and do not start.
  '5.3.6': ['celery[redis]==5.3.6', 'kombu<5.7'],
  '5.4.0': ['celery[redis]==5.4.0', 'kombu<5.7'],
  '5.5.3': ['celery[redis]==5.5.3', 'kombu<5.6'],
  '5.6.3': ['celery[redis]==5.6.3', 'kombu==5.7.0', 'redis==8.1.0', 'gevent==26.9.0'],
  '5.7.0': ['celery[redis]==5.7.0', 'kombu==5.7.0', 'redis==8.1.0', 'gevent==26.9.0'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** A version that can be installed. */
export type CeleryVersion = keyof typeof requirements;

/** The versions that every change is tested on. */
export const celeryVersions: readonly CeleryVersion[] = ['5.6.3', '5.7.0'];

/** All of them: the wire formats are compared with each. */
export const allCeleryVersions = Object.keys(requirements) as readonly CeleryVersion[];

/**
 * The versions that tests of the Node worker run with: `CELERY_VERSIONS=all` (as `npm run test:celery` sets it), or some,
 * as `CELERY_VERSIONS=5.7.0,5.3.6`. Default: {@link celeryVersions}.
 */
export const askedVersions: readonly CeleryVersion[] = ((asked: string) =>
  asked === ''
    ? celeryVersions
    : allCeleryVersions.filter((version) => asked === 'all' || asked.split(',').includes(version)))(
  process.env['CELERY_VERSIONS'] ?? '',
);

/** An installed version. */
export interface Celery {
  readonly version: CeleryVersion;
  /** The folder with `python` and `celery`. */
  readonly bin: string;
}

const here = fileURLToPath(new URL('.', import.meta.url));
/** The folder of the file that Celery pods load. */
export const workerFileDir = fileURLToPath(new URL('../../worker/celery', import.meta.url));
/** The folder of the test apps. */
export const pyappsDir = join(here, 'pyapps');

/** Installs a version into a virtual environment in the cache, unless it is there. About 15 s with a package mirror near by. */
export async function ensureCelery(version: CeleryVersion, say: Say = sayOnStderr): Promise<Celery> {
  return { version, bin: await ensureVenv('celery', version, `Celery ${version}`, requirements[version], say) };
}

/**
 * Installs Python packages into a virtual environment in the cache, `folder/name-…`, unless it is there; resolves to the
 * folder with `python`. @param what how a person calls it
 */
export async function ensureVenv(
  folder: string,
  name: string,
  what: string,
  wanted: readonly string[],
  say: Say = sayOnStderr,
): Promise<string> {
  const python = await commandPath('python3');
  const hint = 'real Celery workers are needed for tests: `apt-get install python3 python3-venv`';
  if (python === undefined) throw new MissingError(`Python 3.8 or newer is missing, and ${hint}.`);
  const { stdout: identity } = await execa(python, ['-c', 'import sys; print(sys.version, sys.executable)']);
  const hash = createHash('sha256')
    .update([identity, ...wanted].join('\n'))
    .digest('hex')
    .slice(0, 8);
  const dir = join(cacheDir(), folder, `${name}-${hash}`);
  const venv = join(dir, 'venv');
  // A virtual environment knows its own path and cannot be renamed into place; this file says that it is complete.
  const complete = join(dir, 'complete');
  await makeOnce(complete, async () => {
    say(`installing ${what} for tests (once, about 15 s)`);
    await rm(venv, { recursive: true, force: true });
    const made = await execa(python, ['-m', 'venv', venv], { reject: false });
    if (made.failed)
      throw new MissingError(`python3 -m venv failed (${lastLine(made.stderr || made.stdout)}); ${hint}.`);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...wanted];
    const installed = await execa(join(venv, 'bin', 'python'), pip, { reject: false });
    if (installed.failed) {
      throw new MissingError(`pip could not install ${wanted.join(' ')}: ${lastLine(installed.stderr)}`);
    }
    await writeFile(`${complete}.new`, `${wanted.join('\n')}\n`);
    await rename(`${complete}.new`, complete);
  });
  return join(venv, 'bin');
}

/** The folder through which gated tasks (pyapps/gate.py) and a test talk. */
export interface Gate {
  readonly dir: string;
  /** Names of the tasks that have started, in order; one that started twice is in it twice. */
  started(): Promise<string[]>;
  ended(): Promise<string[]>;
  /** The lines of a file in the folder; none when it is not there. */
  lines(name: string): Promise<string[]>;
  /** Lets all gated tasks end. */
  open(): Promise<void>;
  remove(): Promise<void>;
}

/** Makes a closed gate. */
export async function makeGate(): Promise<Gate> {
  const dir = await mkdtemp(join(tmpdir(), 'muster-gate-'));
  const lines = async (name: string): Promise<string[]> =>
    (await readFile(join(dir, name), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
  return {
    dir,
    started: () => lines('started'),
    ended: () => lines('ended'),
    lines,
    open: () => writeFile(join(dir, 'open'), ''),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

/** How a worker is started. */
export interface WorkerOptions {
  readonly celery: Celery;
  /** What the operator would render; its broker must be one that is reachable from here. */
  readonly pool: WorkerPool;
  readonly gate: Gate;
  /** Stands for `/muster/routes/routes.json`. Absent: there is no such file. */
  readonly routesFile?: string;
  /** Stands for `/muster/tls/ca.crt`. */
  readonly caFile?: string;
  /** More variables, over the rendered ones; undefined removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** More arguments at the end of the command. */
  readonly args?: readonly string[];
}

/** A running worker. */
export interface CeleryWorker {
  readonly pid: number;
  /** Its Celery node name, `<pool>@<pod>`. */
  readonly hostname: string;
  /** All that it has printed so far. */
  log(): Promise<string>;
  isRunning(): boolean;
  /** Resolves, with the exit code (undefined after a signal), when it has ended. */
  ended(): Promise<number | undefined>;
  signal(signal: NodeJS.Signals): void;
  /** Ends it with SIGKILL, which its pool processes do not survive either, and deletes its files. */
  stop(): Promise<void>;
}

/** Starts a worker and resolves when it consumes (or, for one that is not to, as soon as `until` is in its log). */
export async function startWorker(options: WorkerOptions, until = ' ready.'): Promise<CeleryWorker> {
  const { celery, pool, gate, routesFile = '/nowhere/routes.json', caFile = '/nowhere/ca.crt' } = options;
  const dir = await mkdtemp(join(tmpdir(), 'muster-celery-'));
  const logPath = join(dir, 'log');
  const podName = `${pool.metadata.name}-0`;
  /** What Kubernetes makes of a rendered text here, where nothing is mounted. */
  const local = (text: string): string =>
    text
      .replaceAll('$(POD_NAME)', podName)
      .replaceAll('$$', '$')
      .replaceAll(paths.routesFile, routesFile)
      .replaceAll(paths.caFile, caFile)
      .replaceAll(paths.worker, workerFileDir);
  const rendered = buildEnvironment(pool).map(({ name, value }): [string, string] => [name, local(value ?? '')]);
  const env = {
    ...Object.fromEntries(rendered),
    POD_NAME: podName,
    POD_NAMESPACE: pool.metadata.namespace,
    PATH: `${celery.bin}:${process.env['PATH'] ?? ''}`,
    PYTHONPATH: pyappsDir,
    PYTHONDONTWRITEBYTECODE: '1',
    GATE_DIR: gate.dir,
    ...options.env,
  };
  const [command, ...args] = (buildCommand(pool) ?? []).map(local);
  if (command === undefined) throw new Error('the pool has no command of its own');
  const { program, prefix } = await tiedToThisProcess(command);
  const output = openSync(logPath, 'a');
  const child = spawn(program, [...prefix, ...args, ...(options.args ?? [])], {
    cwd: dir,
    env,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const exit = new Promise<number | undefined>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? undefined));
  });
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const log = (): Promise<string> => readFile(logPath, 'utf8');
  const worker: CeleryWorker = {
    pid: child.pid ?? 0,
    hostname: `${pool.metadata.name}@${podName}`,
    log,
    isRunning,
    ended: () => exit,
    signal: (signal) => void child.kill(signal),
    async stop() {
      if (isRunning()) child.kill('SIGKILL');
      await exit;
      await rm(dir, { recursive: true, force: true });
    },
  };
  try {
    await eventually(
      async () => {
        if (!isRunning()) throw new Error('it has ended');
        return (await log()).includes(until);
      },
      { timeoutMs: 40_000, intervalMs: 30 },
    );
  } catch (err) {
    const said = await log();
    await worker.stop();
    throw new Error(`the Celery worker did not start: ${said}`, { cause: err });
  }
  return worker;
}

/** Runs Python code as a producer does: with the app's folder on its path and nothing of Muster. Resolves to its stdout. */
export async function runPython(
  celery: Celery,
  code: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await execa(join(celery.bin, 'python'), ['-c', code], {
    env: { PYTHONPATH: pyappsDir, PYTHONDONTWRITEBYTECODE: '1', ...env },
  });
  return stdout;
}

/** What workers say on a broker. */
export interface Listener {
  /** All heartbeats so far that have a `muster` field, oldest first. */
  readonly heartbeats: readonly {
    readonly hostname: string;
    readonly active: number;
    readonly extra: MusterHeartbeat;
  }[];
  /** Node names of the workers that said goodbye. */
  readonly offline: readonly string[];
  /** What the last heartbeat said. */
  latest(): MusterHeartbeat | undefined;
  /** Forgets everything, so that a test does not read what a worker of the test before it said. */
  forget(): void;
}

/** Hears the heartbeats of all workers on a database of a server, read by the operator's own parser. */
export async function listen(redis: RedisServer, db = 0): Promise<Listener> {
  const heartbeats: Listener['heartbeats'][number][] = [];
  const offline: string[] = [];
  const client = redis.client();
  client.on('pmessage', (_pattern: string, _channel: string, text: string) => {
    const message = parseWorkerMessage(text);
    if (message.kind === 'offline') offline.push(message.hostname);
    if (message.kind !== 'heartbeat') return;
    if (message.extraProblem !== undefined) throw new Error(`malformed heartbeat: ${message.extraProblem}`);
    const { hostname, active, extra } = message;
    if (extra !== undefined) heartbeats.push({ hostname, active, extra });
  });
  await client.psubscribe(`/${db}.celeryev/worker.*`);
  const forget = (): void => {
    heartbeats.length = 0;
    offline.length = 0;
  };
  return { heartbeats, offline, latest: () => heartbeats.at(-1)?.extra, forget };
}

/** On Linux the kernel ends a worker with the test process, even when that is killed. */
async function tiedToThisProcess(command: string): Promise<{ program: string; prefix: string[] }> {
  const setpriv = '/usr/bin/setpriv';
  if (process.platform !== 'linux' || !(await pathExists(setpriv))) return { program: command, prefix: [] };
  return { program: setpriv, prefix: ['--pdeathsig', 'KILL', '--', command] };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
