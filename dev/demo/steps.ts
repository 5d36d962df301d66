// The steps before and between the measurements: what is being done, for how long, and how long it took here last time.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pc from 'picocolors';
import { cacheDir } from '../install/cacheDir.ts';
import { roughly, type Say } from '../install/progress.ts';
import type { Screen } from './screen.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** Runs named steps one after the other. */
export interface Steps {
  /**
   * Runs one step. `aboutSeconds` is the estimate for a first run; later ones know how long it took before. Undefined for
   * what is done once and then cached: such a step says itself what is missing and how long that takes.
   * Rejects with what `work` rejects with, or with the abort's reason when the demo was stopped before the step.
   */
  run<T>(title: string, aboutSeconds: number | undefined, work: () => Promise<T>): Promise<T>;
  /** A line of progress of the step that runs. */
  readonly say: Say;
}

/** Steps that are shown on `screen` and not begun any more once `signal` is aborted. */
export async function createSteps(screen: Screen, signal: AbortSignal): Promise<Steps> {
  const timings = await readTimings();
  return {
    say: (line) => screen.line(pc.dim(`    ${line}`)),
    async run(title, aboutSeconds, work) {
      signal.throwIfAborted();
      const estimate = aboutSeconds === undefined ? '' : `about ${roughly(timings[title] ?? aboutSeconds)}`;
      const startedMs = performance.now();
      const seconds = () => (performance.now() - startedMs) / 1000;
      if (!screen.isLive) screen.line(`  … ${title}${estimate === '' ? '' : ` (${estimate})`}`);
      let frame = 0;
      const draw = () => {
        const spinner = pc.cyan(FRAMES[frame++ % FRAMES.length] ?? '');
        screen.redraw([
          `  ${spinner} ${title.padEnd(54)} ${pc.dim(`${seconds().toFixed(0)} s${estimate === '' ? '' : ` of ${estimate}`}`)}`,
        ]);
      };
      draw();
      const timer = setInterval(draw, 120);
      try {
        const result = await work();
        screen.line(`  ${pc.green('✓')} ${title.padEnd(54)} ${pc.dim(`${seconds().toFixed(1).padStart(5)} s`)}`);
        if (aboutSeconds !== undefined) timings[title] = seconds();
        return result;
      } catch (err) {
        screen.line(`  ${pc.red('✗')} ${title}`);
        throw err;
      } finally {
        clearInterval(timer);
        await writeTimings(timings);
      }
    },
  };
}

function timingsPath(): string {
  return join(cacheDir(), 'demo', 'step-seconds.json');
}

/** How long each step took last time on this machine. A lost or damaged file only costs the better estimate. */
async function readTimings(): Promise<Record<string, number>> {
  try {
    return JSON.parse(await readFile(timingsPath(), 'utf8')) as Record<string, number>;
  } catch {
    return {};
  }
}

async function writeTimings(timings: Record<string, number>): Promise<void> {
  try {
    await mkdir(join(timingsPath(), '..'), { recursive: true });
    await writeFile(timingsPath(), JSON.stringify(timings));
  } catch {
    // A cache that cannot be written is no reason to stop.
  }
}
