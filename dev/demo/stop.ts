// Ctrl-C: the first one ends the run and takes everything down, the second one leaves at once.
import pc from 'picocolors';
import type { Screen } from './screen.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Whether the user wants to stop. */
export interface Stop {
  readonly signal: AbortSignal;
  /** What is left behind when the user does not wait for the end; shown then. */
  leaves(hint: string): void;
  /** Gives the signals back. */
  close(): void;
}

/** Listens for signals, and for the end of whoever reads `output` (as in `npm run demo | head`). */
export function createStop(screen: Screen, output: NodeJS.WriteStream): Stop {
  const controller = new AbortController();
  let hint = '';
  const onSignal = () => {
    if (!controller.signal.aborted) {
      screen.line(pc.yellow('  stopping: what was started is taken down; once more leaves at once'));
      controller.abort(new Error('stopped'));
      return;
    }
    screen.line(`  left as it is${hint === '' ? '' : `; this takes it down: ${hint}`}`);
    // Not process.exitCode: something that hangs is why one presses twice.
    process.exit(130);
  };
  const onError = () => controller.abort(new Error('nobody reads the output'));
  output.on('error', onError);
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    leaves(newHint) {
      hint = newHint;
    },
    close() {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
