/**
 * A connection that is opened when it is needed and opened again after it was lost. Sending rejects when there is none: what
 * to do then (try again, give up) is for whoever sends, because only they know whether a second time does harm.
 */
import { openConnection, type Command, type Connection, type Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError, type BrokerFailureReason } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';

/** What a connection needs. */
export interface RedisConnectionOptions {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
  /** The most that connecting, and each round trip after it, may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** Sends commands, over as many connections as it takes. */
export interface RedisConnection {
  /** Sends all in one round trip. Rejects with a BrokerError when there is no connection or it ended meanwhile. */
  send(commands: readonly Command[]): Promise<readonly Reply[]>;
  close(): void;
}

/** Builds it; nothing is opened yet. */
export function createRedisConnection({ endpoint, clock, name, timeoutMs }: RedisConnectionOptions): RedisConnection {
  const stop = new AbortController();
  let opening: Promise<Connection> | undefined;

  const open = (): Promise<Connection> => {
    const forget = (): void => {
      if (opening === attempt) opening = undefined;
    };
    const attempt = openConnection({
      ...{ endpoint, clock, name, timeoutMs, signal: stop.signal, selectsDatabase: true },
      onSend: () => undefined,
      onLost: forget,
    });
    attempt.catch(forget);
    return attempt;
  };

  return {
    async send(commands) {
      opening ??= open();
      const connection = await opening;
      return connection.send(commands);
    },
    close: () => stop.abort(),
  };
}

const settingsToMend: ReadonlySet<BrokerFailureReason> = new Set(['WrongPassword', 'NoPermission', 'WrongDatabase']);

/** Whether only a person can mend what failed: who waits for it to pass would wait for ever, and not know why. */
export function isForAPerson(err: unknown): boolean {
  return err instanceof BrokerError && settingsToMend.has(err.reason);
}
