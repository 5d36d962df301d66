// What the user is told while something is fetched or built, and the one error that says what is missing.
// Progress goes to stderr: stdout belongs to commands whose output is read by a shell or a program.
import pc from 'picocolors';

/** Takes one line of progress. Tests pass their own; the default prints to stderr. */
export type Say = (line: string) => void;

/** Prints a line of progress to stderr, marked so that it is told from the output of the tool that asked for it. */
export const sayOnStderr: Say = (line) => void process.stderr.write(`${pc.cyan('›')} ${line}\n`);

/**
 * Something that is needed cannot be had here. `message` is one sentence with the command that would mend it; commands
 * print it as it is and end with code 1, never with a stack trace.
 */
export class MissingError extends Error {
  override readonly name = 'MissingError';
}

/** A duration as a person says it: "40 s", "3 min". */
export function roughly(seconds: number): string {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

/** Runs a command's main function; an error becomes one line on stderr and exit code 1. `MUSTER_DEBUG=1` adds the stack. */
export async function runMain(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (err) {
    const message = err instanceof Error ? err.message : String(err);
    process.stderr.write(`${pc.red('error:')} ${message}\n`);
    if (process.env['MUSTER_DEBUG'] === '1' && err instanceof Error) process.stderr.write(`${err.stack ?? ''}\n`);
    process.exitCode = 1;
  }
}
