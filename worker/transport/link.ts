/**
 * One connection to Redis, from its opening to its end: the only file that imports ioredis. Whoever owns it opens a new one.
 * ioredis' own way of reconnecting is switched off: after a refused SELECT it goes on with database 0 and would take
 * somebody else's tasks, and it sends commands again whose answer was lost, which for a claim loses messages.
 * RESP2 is spoken, because with RESP3 ioredis 6 drops the announcements of client tracking.
 */
import { readFileSync } from 'node:fs';
import { Redis, type RedisOptions } from 'ioredis';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Endpoint } from './endpoint.ts';

/** Why a connection cannot be had, or ended. Its message names the server and never credentials or arguments. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
}

/** Redis answered with an error; the connection goes on. `code` is the first word: `READONLY`, `OOM`, `NOSCRIPT`, … */
export class ReplyError extends Error {
  override readonly name = 'ReplyError';
  readonly code: string;

  constructor(message: string) {
    super(message.slice(0, 200));
    this.code = /^-?([A-Z]+)/.exec(message)?.[1] ?? '';
  }
}

/** An argument of a command. */
export type Argument = string | number | Buffer;

/** An open connection. */
export interface Link {
  /** Sends a command; commands are answered in the order in which they were sent. Rejects with ReplyError or LinkError. */
  send(command: string, args: readonly Argument[]): Promise<unknown>;
  /** Subscribes; the payload comes as it was sent: a text, or a list of texts. */
  subscribe(channel: string, onMessage: (payload: unknown) => void): Promise<void>;
  /** Subscribes to a pattern. */
  subscribePattern(pattern: string, onMessage: (channel: string, text: string) => void): Promise<void>;
  /** Ends it; `onLost` is not called then, and what was sent and not answered is rejected. */
  close(): void;
}

/** How to open a connection. */
export interface LinkOptions {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
  /** The most that an answer may take while nothing at all arrives; then the connection counts as dead. */
  readonly timeoutMs: number;
  /** Ends an attempt to open, and the open connection. */
  readonly signal: AbortSignal;
  /** Told once, when an open connection ends by itself. */
  readonly onLost: (why: LinkError) => void;
}

interface Waiting {
  readonly reject: (why: LinkError) => void;
}

/** Opens a connection. Rejects with LinkError or ReplyError. */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { endpoint, clock, timeoutMs, signal } = options;
  if (signal.aborted) throw new LinkError(`the connection to ${endpoint.display} was closed`);
  const redis: Redis = new Redis(redisOptions(options));
  const waiting = new Set<Waiting>();
  let phase: 'opening' | 'open' | 'ended' = 'opening';
  let lastError: unknown;
  let lastSignOfLifeMs = clock.monotonicMs();
  let bytesRead = 0;

  const end = (why: LinkError): void => {
    if (phase === 'ended') return;
    const wasOpen = phase === 'open';
    phase = 'ended';
    watch.cancel();
    signal.removeEventListener('abort', close);
    redis.disconnect();
    // disconnect() only half-closes, and a peer that is gone never answers that.
    streamOf(redis)?.destroy();
    for (const each of waiting) each.reject(why);
    waiting.clear();
    if (wasOpen) options.onLost(why);
  };
  const close = (): void => {
    if (phase === 'open') phase = 'opening'; // the owner is not told of what it asked for
    end(new LinkError(`the connection to ${endpoint.display} was closed`));
  };
  /** Silence ends the connection: a half-open socket never reports itself. One timer, not one for each command. */
  const look = (): void => {
    const read = streamOf(redis)?.bytesRead ?? 0;
    if (read !== bytesRead || waiting.size === 0) lastSignOfLifeMs = clock.monotonicMs();
    bytesRead = read;
    if (clock.monotonicMs() - lastSignOfLifeMs > timeoutMs) {
      end(new LinkError(`${endpoint.display} did not answer within ${timeoutMs} ms`));
    } else watch = clock.setTimer(timeoutMs / 4, look);
  };
  let watch = clock.setTimer(timeoutMs / 4, look);
  redis.on('error', (err: unknown) => {
    lastError = err;
  });
  redis.on('end', () => end(lostError(endpoint, lastError)));

  /** Settles with the work, or with the end of the connection. */
  const settled = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const each: Waiting = { reject };
      waiting.add(each);
      work.then(
        (value) => {
          waiting.delete(each);
          resolve(value);
        },
        (err: unknown) => {
          waiting.delete(each);
          if (err instanceof Error && err.name === 'ReplyError') reject(new ReplyError(err.message));
          else {
            const why = lostError(endpoint, lastError ?? err);
            reject(why);
            end(why);
          }
        },
      );
    });

  const link: Link = {
    send: (command, args) => {
      if (phase === 'ended') return Promise.reject(lostError(endpoint, lastError));
      return settled(redis.call(command, ...(args as (string | number | Buffer)[])));
    },
    async subscribe(channel, onMessage) {
      redis.on('message', (from: string, payload: unknown) => {
        if (from === channel) onMessage(payload);
      });
      await settled(redis.subscribe(channel));
    },
    async subscribePattern(pattern, onMessage) {
      redis.on('pmessage', (from: string, channel: string, text: string) => {
        if (from === pattern) onMessage(channel, text);
      });
      await settled(redis.psubscribe(pattern));
    },
    close,
  };

  signal.addEventListener('abort', close, { once: true });
  try {
    await settled(redis.connect());
    await shakeHands(options, link);
    phase = 'open';
    return link;
  } catch (err) {
    end(lostError(endpoint, err));
    throw err;
  }
}

/** Signs in and chooses the database; any refusal ends the attempt. */
async function shakeHands({ endpoint, name }: LinkOptions, link: Link): Promise<void> {
  const { username, password, db } = endpoint;
  if (password !== undefined) await link.send('AUTH', username === undefined ? [password] : [username, password]);
  if (db !== 0) await link.send('SELECT', [db]);
  // A courtesy to whoever reads CLIENT LIST: that it is not permitted or not known does not matter.
  await link.send('CLIENT', ['SETNAME', name]).catch((err: unknown) => {
    if (!(err instanceof ReplyError)) throw err;
  });
}

function redisOptions({ endpoint, timeoutMs }: LinkOptions): Omit<RedisOptions, 'replyMapping'> {
  const { host, port, tls } = endpoint;
  const pem = (path: string | undefined): Buffer | undefined => (path === undefined ? undefined : readFileSync(path));
  return {
    host,
    port,
    protocol: 2,
    lazyConnect: true,
    connectTimeout: timeoutMs,
    keepAlive: 10_000,
    enableReadyCheck: false,
    disableClientInfo: true,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    ...(tls === undefined
      ? {}
      : {
          tls: {
            servername: host,
            rejectUnauthorized: tls.verify,
            ...(tls.checkHost ? {} : { checkServerIdentity: () => undefined }),
            ...(tls.caFile === undefined ? {} : { ca: pem(tls.caFile) }),
            ...(tls.certFile === undefined ? {} : { cert: pem(tls.certFile) }),
            ...(tls.keyFile === undefined ? {} : { key: pem(tls.keyFile) }),
          },
        }),
  };
}

function streamOf(redis: Redis): { bytesRead: number; destroy(): void } | undefined {
  return (redis as { stream?: { bytesRead: number; destroy(): void } }).stream;
}

function lostError(endpoint: Endpoint, cause: unknown): LinkError {
  if (cause instanceof LinkError) return cause;
  const text = cause instanceof Error ? cause.message : '';
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  // The message of a failed lookup or handshake names hosts and files, never credentials.
  const why = code === '' ? text : `${code}${text === '' ? '' : `: ${text}`}`;
  return new LinkError(`the connection to ${endpoint.display} ended${why === '' ? '' : ` (${why})`}`);
}
