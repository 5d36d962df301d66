/** A logger that says nothing: where faults are what a test is made of, their log lines are noise. */
import type { Logger } from '../../operator/runtime/log.ts';

export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};
