/**
 * The only file that imports winston. It closes four traps of winston's defaults: an error logged as metadata loses
 * its message and stack; a `message` field is appended to the message; `process.exit()` on a pipe loses lines; and
 * nothing keeps a password out of a line. Lines are JSON, one object a line.
 */
import winston from 'winston';

/** Fields of a line. `message` and `level` are the line's own and may not be given (winston would merge them). */
export type LogFields = Readonly<Record<string, unknown>> & { message?: never; level?: never; err?: unknown };

/** Levels by audience: debug developers; info milestones; warn a consequence and an action; error something is not doing its job. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose every line carries these fields too. */
  child(fields: LogFields): Logger;
}

/** A logger together with the way to end it. */
export interface LogRoot extends Logger {
  /** Resolves when every line has been handed to the stream (or after 2 s): call it last, instead of `process.exit`. */
  close(): Promise<void>;
}

/** The levels that can be configured, most talkative first. */
export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** What an error looks like in a line: every part that helps, nested causes included (at most five deep). */
export function errorFields(err: unknown, depth = 0): unknown {
  if (!(err instanceof Error)) return err;
  const { name, message, stack, cause } = err;
  const code: unknown = 'code' in err ? err.code : undefined;
  const kind: unknown = 'kind' in err ? err.kind : undefined;
  return {
    name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(kind === undefined ? {} : { kind }),
    ...(stack === undefined || depth > 0 ? {} : { stack }),
    ...(cause === undefined || depth >= 5 ? {} : { cause: errorFields(cause, depth + 1) }),
  };
}

const credentialsInUrl = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']*:[^\s@"']*@/gi;

/** Takes user and password out of every URL in a text: `redis://user:pw@host` becomes `redis://***@host`. */
export function redactUrls(text: string): string {
  return text.replace(credentialsInUrl, '$1***@');
}

/**
 * Builds the root logger.
 * @param level lines below it are dropped
 * @param stream where lines go; standard output when absent
 */
export function createLogger(level: LogLevel, stream?: NodeJS.WritableStream): LogRoot {
  const line = winston.format((info) => {
    if (info['err'] !== undefined) info['err'] = errorFields(info['err']);
    return info;
  });
  const root = winston.createLogger({
    level,
    format: winston.format.combine(
      line(),
      winston.format.timestamp(),
      winston.format.printf((info) => redactUrls(JSON.stringify(orderFields(info)))),
    ),
    transports: [stream === undefined ? new winston.transports.Console() : new winston.transports.Stream({ stream })],
  });
  return {
    ...wrap(root, level),
    close: () =>
      new Promise((resolve) => {
        const guard = setTimeout(resolve, 2000);
        root.once('finish', () => {
          clearTimeout(guard);
          resolve();
        });
        root.end();
      }),
  };
}

/** Time, level and message first, so that a line can be read by eye. */
function orderFields(info: winston.Logform.TransformableInfo): Record<string, unknown> {
  const { timestamp, level, message, ...rest } = info;
  return { timestamp, level, message, ...rest };
}

/** winston formats a line before it looks at the level, so a line that nobody will see does not get there. */
function wrap(logger: winston.Logger, least: LogLevel): Logger {
  const writer = (level: LogLevel): Logger[LogLevel] =>
    logLevels.indexOf(level) < logLevels.indexOf(least)
      ? () => undefined
      : (message, fields) => void logger.log(level, message, fields ?? {});
  return {
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: writer('error'),
    child: (fields) => wrap(logger.child(fields), least),
  };
}
