// Starting and ending the programs of a cluster. A process is ended only by its id, and only while its command line still
// names the cluster's own folder: an id that the system has given to somebody else's program meanwhile is never signalled.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { waitUntil } from './poll.ts';
import { pathExists } from '../install/cacheDir.ts';

/** A program to start. Its output is appended to `logPath`. */
export interface ProgramSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly logPath: string;
  readonly env?: Readonly<Record<string, string>>;
  /** True for a cluster that stays up when the command that made it ends; false ties the program's life to ours. */
  readonly outlivesParent: boolean;
}

/** A program that was started here. */
export interface Program {
  readonly pid: number;
  /** False from the moment it has ended, for whatever cause. */
  isRunning(): boolean;
  /** Resolves when it has ended. Until then it keeps this process alive. */
  ended(): Promise<void>;
}

/** Starts a program in a process group of its own, so that Ctrl-C in the terminal does not end it in the middle of ours. */
export async function startProgram(spec: ProgramSpec): Promise<Program> {
  const [command, args] = spec.outlivesParent ? [spec.command, spec.args] : await tiedToParent(spec.command, spec.args);
  const output = openSync(spec.logPath, 'a');
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', output, output],
    env: { ...process.env, ...spec.env },
  });
  closeSync(output);
  const pid = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => resolve(child.pid ?? 0));
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // Without this a test run would wait for the cluster instead of ending.
  child.unref();
  return {
    pid,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    ended: () => {
      // An unreferenced child alone would let Node exit in the middle of the wait.
      if (child.exitCode === null && child.signalCode === null) child.ref();
      return ended;
    },
  };
}

/** On Linux the kernel itself ends the program with us, even when we are killed; elsewhere only an exit handler can. */
async function tiedToParent(command: string, args: readonly string[]): Promise<[string, readonly string[]]> {
  const setpriv = '/usr/bin/setpriv';
  if (process.platform !== 'linux' || !(await pathExists(setpriv))) return [command, args];
  return [setpriv, ['--pdeathsig', 'KILL', '--', command, ...args]];
}

/** The command line of a process, or undefined when there is none (ended, or a zombie that nobody has waited for). */
export async function commandLine(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const raw = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return raw === '' ? undefined : raw.replaceAll('\0', ' ');
  }
  const found = await execa('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { reject: false });
  return found.failed || found.stdout.trim() === '' ? undefined : found.stdout;
}

/** Whether `pid` is a running process whose command line names `dir`. */
export async function isOurs(pid: number, dir: string): Promise<boolean> {
  return (await commandLine(pid))?.includes(dir) ?? false;
}

/**
 * Sends `signal` to `pid` if it is a process of the cluster in `dir`. Waits until it is gone when the signal ends
 * processes, and follows with SIGKILL after `graceMs`. Returns at once for signals such as SIGSTOP.
 */
export async function endProcess(pid: number, dir: string, signal: NodeJS.Signals, graceMs = 5_000): Promise<void> {
  if (!(await isOurs(pid, dir))) return;
  signalQuietly(pid, signal);
  if (!endsProcesses(signal)) return;
  const isGone = async () => !(await isOurs(pid, dir));
  try {
    await waitUntil(`process ${pid} gone`, isGone, { timeoutMs: graceMs, intervalMs: 20 });
  } catch {
    // A stopped or hanging process ignores SIGTERM; nothing ignores this one.
    signalQuietly(pid, 'SIGKILL');
    await waitUntil(`process ${pid} gone`, isGone, { timeoutMs: 10_000, intervalMs: 20 });
  }
}

/** Whether a process is expected to be gone after this signal. */
export function endsProcesses(signal: NodeJS.Signals): boolean {
  return ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT'].includes(signal);
}

/** Sends a signal to a process that is known to be ours; one that is gone already is no error. */
export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Already gone, which is what was wanted.
  }
}
