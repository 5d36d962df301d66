/**
 * The operator as its image runs it: the bundle, as a process of its own, with the same flags. What it costs is asked
 * of the kernel, what it did of its own metrics.
 */
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import getPort from 'get-port';
import { startProgram } from '../cluster/process.ts';

const bundle = fileURLToPath(new URL('../../dist/operator.mjs', import.meta.url));
const workerFile = fileURLToPath(new URL('../../worker/celery/muster_worker.py', import.meta.url));
const dockerfile = fileURLToPath(new URL('../../Dockerfile', import.meta.url));
/** Kernel ticks of /proc/<pid>/stat in a second, on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** What a process has used. Zeros where there is no /proc. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly rssMiB: number;
  readonly peakRssMiB: number;
}

/** A running operator. */
export interface Operator {
  /** When it was spawned, on `performance.now()`. */
  readonly spawnedMs: number;
  /** Its metrics in Prometheus' text format; undefined while it does not answer yet. */
  metrics(): Promise<string | undefined>;
  usage(): Promise<Usage>;
  /** Ends it and waits. Throws when it has ended before. */
  stop(): Promise<void>;
  /** Throws, with the end of its log, when it has ended by itself. */
  check(): Promise<void>;
}

/** How to start it. */
export interface OperatorOptions {
  readonly kubeconfigPath: string;
  /** What to run, as `copyBundle` gave it. */
  readonly bundlePath: string;
  /** A folder for its log. */
  readonly dir: string;
  /** A folder for a CPU profile, written when it ends. */
  readonly profileDir?: string | undefined;
}

/** Copies the bundle into a folder, so that a build meanwhile does not change what is measured; gives the copy's path. */
export async function copyBundle(dir: string): Promise<string> {
  await Promise.all(['', '.map'].map((suffix) => copyFile(`${bundle}${suffix}`, join(dir, `operator.mjs${suffix}`))));
  return join(dir, 'operator.mjs');
}

/** Spawns the operator and does not wait for it. */
export async function startOperator(options: OperatorOptions): Promise<Operator> {
  const { kubeconfigPath, bundlePath, dir, profileDir } = options;
  const port = await getPort({ port: Array.from({ length: 20 }, () => 20_000 + Math.floor(Math.random() * 5_000)) });
  const logPath = join(dir, 'operator.log');
  const profile = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
  const image = await readFile(dockerfile, 'utf8');
  const spawnedMs = performance.now();
  const program = await startProgram({
    command: process.execPath,
    args: [...parseNodeFlags(image), ...profile, bundlePath, '--port', String(port), '--worker-file', workerFile],
    logPath,
    env: { KUBECONFIG: kubeconfigPath, NODE_OPTIONS: '', ...parseImageEnv(image) },
    outlivesParent: false,
  });
  const check = async (): Promise<void> => {
    if (program.isRunning()) return;
    const log = await readFile(logPath, 'utf8').catch(() => '');
    throw new Error(`the operator has ended:\n${log.split('\n').slice(-10).join('\n')}`);
  };
  return {
    spawnedMs,
    check,
    async metrics() {
      try {
        const response = await fetch(`http://127.0.0.1:${port}/metrics`);
        return response.ok ? await response.text() : undefined;
      } catch {
        return undefined;
      }
    },
    usage: () => readUsage(program.pid),
    async stop() {
      await check();
      process.kill(program.pid, 'SIGTERM');
      await program.ended();
    },
  };
}

/** The flags between `node` and the program in a Dockerfile's ENTRYPOINT: what is measured is what runs in the image. */
export function parseNodeFlags(text: string): string[] {
  const entrypoint = /^ENTRYPOINT (\[.*\])$/m.exec(text)?.[1];
  if (entrypoint === undefined) throw new Error('the Dockerfile has no ENTRYPOINT in JSON form');
  return (JSON.parse(entrypoint) as string[]).filter((word) => word.startsWith('--'));
}

/** The environment that the image sets, but for paths inside it. */
export function parseImageEnv(text: string): Record<string, string> {
  const words = [...text.matchAll(/^ENV (.*)$/gm)].flatMap(([, line = '']) => line.split(' '));
  return Object.fromEntries(
    words.map((word) => word.split('=', 2) as [string, string]).filter(([, value]) => !value.startsWith('/')),
  );
}

async function readUsage(pid: number): Promise<Usage> {
  const [stat, status] = await Promise.all(
    ['stat', 'status'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '')),
  );
  return { cpuSeconds: parseCpuSeconds(stat ?? ''), ...parseMemory(status ?? '') };
}

/** User and system time out of /proc/<pid>/stat. The name in parentheses may hold anything, so it is skipped first. */
export function parseCpuSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond;
}

/** Resident memory, now and at its highest, out of /proc/<pid>/status. */
export function parseMemory(status: string): { rssMiB: number; peakRssMiB: number } {
  const kiB = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return { rssMiB: kiB('VmRSS') / 1024, peakRssMiB: kiB('VmHWM') / 1024 };
}
