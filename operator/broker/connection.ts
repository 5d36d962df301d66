/**
 * One connection to Redis: the only file that imports ioredis. It opens once and ends once; whoever owns it opens a new
 * one. ioredis' own way of reconnecting is switched off, because three of its habits do harm here: after a refused
 * SELECT it goes on with database 0 and would read somebody else's queues, it resends commands whose answer was lost,
 * and it prints warnings to the terminal. RESP2 is spoken, because with RESP3 ioredis 6 drops `invalidate` pushes.
 */
import { Redis, type RedisOptions } from 'ioredis';
import type { Clock } from '../runtime/clock.ts';
import { createRoster, type Seated } from '../runtime/roster.ts';
import type { BrokerEndpoint } from './endpoint.ts';
import { BrokerError, connectionFailure, isReplyError, replyFailure, timeoutFailure } from './failures.ts';

/** A command and its arguments. */
export type Command = readonly [name: string, ...args: readonly (string | number)[]];
/** What Redis answered to one command. */
export type Reply =
  { readonly kind: 'ok'; readonly value: unknown } | { readonly kind: 'error'; readonly error: Error };

/** A connection that is open, or was. */
export interface Connection {
  /** Sends all commands in one round trip. Rejects with a BrokerError when the connection ends before the answers came. */
  send(commands: readonly Command[]): Promise<readonly Reply[]>;
  /** Subscribes; the payload of a message is given as it came: a buffer, or an array of them. */
  subscribe(channel: string, onMessage: (payload: unknown) => void): Promise<void>;
  /** Subscribes to a pattern. */
  subscribePattern(pattern: string, onMessage: (channel: string, text: string) => void): Promise<void>;
  /** Asks for a sign of life; works on a connection that subscribes too. */
  ping(): Promise<void>;
  /** Ends it; `onLost` is not called then. */
  close(): void;
}

/** How to open a connection. */
export interface ConnectionOptions {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
  /** The most that connecting, and each round trip after it, may take. */
  readonly timeoutMs: number;
  /** Ends the connection, and an attempt to make one; `onLost` is not called then. */
  readonly signal: AbortSignal;
  /** Whether the connection reads keys: a subscriber needs no SELECT. */
  readonly selectsDatabase: boolean;
  /** Told the size of each round trip. */
  readonly onSend: (commands: number) => void;
  /** Told once, when an open connection ends by itself. */
  readonly onLost: (failure: BrokerError) => void;
}

/** Opens a connection, or rejects with the BrokerError that says why it cannot be had. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { endpoint, clock, timeoutMs } = options;
  const redis: Redis = new Redis(redisOptions(options));
  let phase: 'opening' | 'open' | 'ended' = 'opening';
  let lastError: unknown;
  /** Every wait in progress, so that none outlives the connection. (A race with one long-lived promise would leak.) */
  const waiting = createRoster<Seated & { readonly fail: (failure: BrokerError) => void }>();

  const end = (failure: BrokerError): void => {
    if (phase === 'ended') return;
    const wasOpen = phase === 'open';
    phase = 'ended';
    for (const { fail } of waiting) fail(failure);
    options.signal.removeEventListener('abort', close);
    redis.disconnect();
    // disconnect() only half-closes, and a peer that is gone never answers that.
    (redis as { stream?: { destroy(): void } }).stream?.destroy();
    if (wasOpen) options.onLost(failure);
  };
  const close = (): void => {
    if (phase === 'open') phase = 'opening'; // the owner is not told of what it asked for
    end(new BrokerError('Unreachable', `the connection to broker ${endpoint.display} was closed`));
  };
  redis.on('error', (err: unknown) => {
    lastError = err;
  });
  redis.on('end', () => end(connectionFailure(endpoint, lastError)));

  const timedOut = (): BrokerError => {
    // A server that speaks no TLS waits for the rest of what it takes for a command.
    const socket = (redis as { stream?: { connecting?: boolean } }).stream;
    const inHandshake =
      endpoint.redis.tls !== undefined && redis.status === 'connecting' && socket?.connecting === false;
    return inHandshake
      ? connectionFailure(endpoint, Object.assign(new Error(), { code: 'ERR_TLS_HANDSHAKE_TIMEOUT' }))
      : timeoutFailure(endpoint, timeoutMs);
  };

  /** Waits for an answer, and takes silence as the end of the connection: a half-open socket never reports itself. */
  const answered = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const timer = clock.setTimer(timeoutMs, () => end(timedOut()));
      const done = (): void => {
        timer.cancel();
        waiting.remove(wait);
      };
      const fail = (failure: BrokerError): void => {
        done();
        reject(failure);
      };
      const wait = { seat: undefined, fail };
      waiting.add(wait);
      // Written out: a worker that runs short tasks does this thousands of times a second.
      work.then(
        (value) => {
          done();
          resolve(value);
        },
        (err: unknown) => {
          done();
          reject(err instanceof Error ? err : new Error(String(err)));
        },
      );
    });

  const replyOf = (error: unknown, value: unknown): Reply => {
    if (error === null) return { kind: 'ok', value };
    if (isReplyError(error)) return { kind: 'error', error };
    const failure = connectionFailure(endpoint, lastError ?? error);
    end(failure);
    throw failure;
  };

  // Not async: a worker that runs short tasks does this thousands of times a second.
  const send = (commands: readonly Command[]): Promise<readonly Reply[]> => {
    const [only] = commands;
    if (only === undefined) return Promise.resolve([]);
    options.onSend(commands.length);
    // A pipeline costs several times what one command does.
    if (commands.length === 1) {
      const reply = redis.call(...only).then(
        (value) => [replyOf(null, value)],
        (error: unknown) => [replyOf(error, undefined)],
      );
      return answered(reply);
    }
    const replies = redis.pipeline(commands as unknown as unknown[][]).exec();
    return answered(replies.then((results) => (results ?? []).map(([error, value]) => replyOf(error, value))));
  };

  /** A single call whose refusal is an exception. */
  const call = async <T>(command: string, start: () => Promise<T>): Promise<T> => {
    options.onSend(1);
    try {
      return await answered(start());
    } catch (err) {
      if (err instanceof BrokerError) throw err;
      throw isReplyError(err) ? replyFailure(endpoint, command, err) : connectionFailure(endpoint, lastError ?? err);
    }
  };

  try {
    options.signal.throwIfAborted();
    options.signal.addEventListener('abort', close, { once: true });
    await answered(
      redis.connect().catch((err: unknown) => {
        throw lastError ?? err;
      }),
    );
    await shakeHands(options, send);
    phase = 'open';
  } catch (err) {
    const failure = connectionFailure(endpoint, err);
    end(failure);
    throw failure;
  }

  return {
    send,
    async subscribe(channel, onMessage) {
      redis.on('messageBuffer', (_channel: Buffer, payload: unknown) => onMessage(payload));
      await call(`SUBSCRIBE ${channel}`, () => redis.subscribe(channel));
    },
    async subscribePattern(pattern, onMessage) {
      redis.on('pmessage', (_pattern: string, channel: string, text: string) => onMessage(channel, text));
      await call(`PSUBSCRIBE ${pattern}`, () => redis.psubscribe(pattern));
    },
    async ping() {
      await call('PING', () => redis.ping());
    },
    close,
  };
}

/** Signs in and chooses the database; any refusal ends the attempt. */
async function shakeHands(
  options: ConnectionOptions,
  send: (commands: readonly Command[]) => Promise<readonly Reply[]>,
): Promise<void> {
  const { endpoint } = options;
  const { username, password, db } = endpoint.redis;
  const commands: Command[] = [];
  if (password !== undefined) commands.push(username === undefined ? ['auth', password] : ['auth', username, password]);
  if (options.selectsDatabase && db !== 0) commands.push(['select', db]);
  // A courtesy to whoever reads CLIENT LIST: that it is not permitted or not known does not matter.
  commands.push(['client', 'SETNAME', options.name]);
  const replies = await send(commands);
  for (const [index, reply] of replies.entries()) {
    if (reply.kind === 'ok') continue;
    const name = commands[index]?.[0] ?? '';
    const failure = replyFailure(endpoint, name.toUpperCase(), reply.error);
    const isCourtesy = name === 'client' && (failure.reason === 'NoPermission' || failure.reason === 'Unknown');
    if (!isCourtesy) throw failure;
  }
}

function redisOptions({ endpoint, timeoutMs }: ConnectionOptions): Omit<RedisOptions, 'replyMapping'> {
  const { host, port, tls } = endpoint.redis;
  return {
    host,
    port,
    protocol: 2,
    lazyConnect: true,
    // Ours is the one that counts: it knows what was being waited for.
    connectTimeout: 2 * timeoutMs,
    // A NAT or a firewall that forgets an idle connection is noticed by the kernel even between two reads.
    keepAlive: 15_000,
    retryStrategy: () => null,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    disableClientInfo: true,
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ...(endpoint.caPem === undefined ? {} : { ca: endpoint.caPem }),
            // An IP address may not be sent as server name; Node then checks the certificate against the address.
            ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
            rejectUnauthorized: tls.verify,
            ...(tls.checkHost ? {} : { checkServerIdentity: () => undefined }),
          },
        }),
  };
}
