/**
 * SIGTERM and SIGINT as an AbortSignal. The first asks for an end in good order; a second of the same kind ends the
 * process at once, as it would without a handler, because a person who presses Ctrl-C twice means it.
 */
import type { Logger } from './log.ts';

const names = ['SIGTERM', 'SIGINT'] as const;

/** The process's wish to end. */
export interface Shutdown {
  /** Aborts on the first signal. */
  readonly signal: AbortSignal;
  /** Takes the handlers away. */
  dispose(): void;
}

/** Listens for the signals. */
export function listenForShutdown(log: Logger): Shutdown {
  const controller = new AbortController();
  const dispose = (): void => {
    for (const name of names) process.removeListener(name, onSignal);
  };
  const onSignal = (name: NodeJS.Signals): void => {
    log.info('stopping', { signal: name });
    dispose(); // From now on the default applies: a second signal kills.
    controller.abort();
  };
  for (const name of names) process.on(name, onSignal);
  return { signal: controller.signal, dispose };
}
