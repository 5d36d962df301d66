/**
 * A connection that hears messages of many channels, until it ends; whoever owns it opens a new one. Apart from the other
 * connections because a connection that subscribes may do nothing else in RESP2.
 */
import { Redis } from 'ioredis';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { connectionFailure, timeoutFailure, type BrokerError } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';

/** What a subscriber needs. */
export interface SubscriberOptions {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  /** The most that connecting or a sign of life may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly onMessage: (channel: string, text: string) => void;
  /** Told once, when it ends by itself. */
  readonly onLost: (why: BrokerError) => void;
}

/** An open subscriber. */
export interface Subscriber {
  /** Resolves when messages published from now on will be heard. */
  subscribe(channels: readonly string[]): Promise<void>;
  unsubscribe(channels: readonly string[]): void;
  close(): void;
}

/** Opens a subscriber, or rejects with a BrokerError. */
export async function openSubscriber(options: SubscriberOptions): Promise<Subscriber> {
  const { endpoint, clock, timeoutMs } = options;
  // It asks for a sign of life: silence is what a half-open socket and an idle channel have in common.
  const pingMs = 2 * timeoutMs;
  const { host, port, username, password, tls } = endpoint.redis;
  const redis = new Redis({
    ...{ host, port, protocol: 2, lazyConnect: true, connectTimeout: timeoutMs, connectionName: 'muster-results' },
    ...{ enableReadyCheck: false, disableClientInfo: true, autoResubscribe: false, maxRetriesPerRequest: 0 },
    retryStrategy: () => null,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined
      ? {}
      : {
          tls: {
            servername: host,
            rejectUnauthorized: tls.verify,
            ...(endpoint.caPem === undefined ? {} : { ca: endpoint.caPem }),
            ...(tls.checkHost ? {} : { checkServerIdentity: () => undefined }),
          },
        }),
  });
  let phase: 'opening' | 'open' | 'ended' = 'opening';
  let lastError: unknown;
  const end = (why: BrokerError): void => {
    if (phase === 'ended') return;
    const wasOpen = phase === 'open';
    phase = 'ended';
    redis.disconnect();
    // disconnect() only half-closes, and a peer that is gone never answers that.
    (redis as { stream?: { destroy(): void } }).stream?.destroy();
    if (wasOpen) options.onLost(why);
  };
  redis.on('error', (err: unknown) => (lastError = err));
  redis.on('end', () => end(connectionFailure(endpoint, lastError)));
  redis.on('message', options.onMessage);

  const answered = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const timer = clock.setTimer(timeoutMs, () => {
        const why = timeoutFailure(endpoint, timeoutMs);
        reject(why);
        end(why);
      });
      work
        .finally(() => timer.cancel())
        .then(resolve, (err: unknown) => {
          const why = connectionFailure(endpoint, lastError ?? err);
          reject(why);
          end(why);
        });
    });
  const ping = (): void => {
    if (phase !== 'open') return;
    answered(redis.ping()).then(
      () => clock.setTimer(pingMs, ping),
      () => undefined, // it has ended, and its owner knows
    );
  };

  await answered(redis.connect());
  phase = 'open';
  clock.setTimer(pingMs, ping);
  return {
    async subscribe(channels) {
      await answered(redis.subscribe(...channels));
    },
    unsubscribe(channels) {
      if (phase === 'open' && channels.length > 0) redis.unsubscribe(...channels).catch(() => undefined);
    },
    close() {
      phase = phase === 'open' ? 'opening' : phase; // the owner is not told of what it asked for
      end(connectionFailure(endpoint, undefined));
    },
  };
}
