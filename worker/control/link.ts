/**
 * The connections of remote control: one that subscribes, one that publishes. They are apart from the connection that
 * carries tasks, so that a big reply or a full channel holds up no task. Without them the worker works on, unseen.
 *
 *   opening ──► open ──either lost──► opening …   (at once, then after 200 ms, doubling to 5 s, with jitter)
 */
import { openConnection, type Command, type Connection, type Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';

/** The connections. */
export interface ControlLink {
  /** Sends in one round trip. `undefined` when there is no connection, or it ended meanwhile: then nobody hears it. */
  send(commands: readonly Command[]): Promise<readonly Reply[] | undefined>;
  isOpen(): boolean;
  close(): Promise<void>;
}

/** What the link needs. */
export interface ControlLinkOptions {
  readonly endpoint: BrokerEndpoint;
  /** The channel to hear. */
  readonly channel: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** The most that connecting or a round trip may take: silence for longer is the end of the connection. */
  readonly timeoutMs: number;
  readonly onMessage: (raw: string) => void;
  /** Called on every new connection. */
  readonly onOpen: () => void;
}

const backoffMs = { first: 200, most: 5_000 };
/** How often a silent subscription is asked for a sign of life. */
const askMs = 10_000;

/** Opens the link and keeps it. */
export function createControlLink(options: ControlLinkOptions): ControlLink {
  const { endpoint, clock, log, timeoutMs } = options;
  const stop = new AbortController();
  let publisher: Connection | undefined;
  let lastWhy: string | undefined;

  /** One pair of connections, from its beginning to its end. */
  const live = async (): Promise<void> => {
    const end = new AbortController();
    const abort = (): void => end.abort();
    stop.signal.addEventListener('abort', abort, { once: true });
    let failure: BrokerError | undefined;
    const open = (name: string, selectsDatabase: boolean): Promise<Connection> =>
      openConnection({
        ...{ endpoint, clock, name, timeoutMs, selectsDatabase, signal: end.signal },
        onSend: () => undefined,
        onLost: (lost) => {
          failure ??= lost;
          end.abort();
        },
      });
    try {
      const subscriber = await open('muster-worker-control', false);
      const mine = await open('muster-worker-events', true);
      await subscriber.subscribe(options.channel, (payload) => options.onMessage(String(payload)));
      publisher = mine;
      lastWhy = undefined;
      options.onOpen();
      const isOver = (): boolean => end.signal.aborted;
      while (!isOver()) {
        await clock.sleep(askMs, end.signal);
        if (!isOver()) await subscriber.ping();
      }
      if (failure !== undefined) throw failure;
    } finally {
      publisher = undefined;
      end.abort();
      stop.signal.removeEventListener('abort', abort);
    }
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    const isClosed = (): boolean => stop.signal.aborted;
    while (!isClosed()) {
      const sinceMs = clock.monotonicMs();
      try {
        await live();
      } catch (err) {
        const why = err instanceof Error ? err.message : String(err);
        if (!isClosed() && why !== lastWhy) log.warn('remote control and events are off, trying again', { why });
        lastWhy = why;
      }
      if (clock.monotonicMs() - sinceMs > backoffMs.most) failures = 0;
      const waitMs = failures === 0 ? 10 : Math.min(backoffMs.most, backoffMs.first * 2 ** Math.min(failures, 10));
      failures += 1;
      await clock.sleep(waitMs * (0.5 + Math.random() / 2), stop.signal);
    }
  };
  const running = run();

  return {
    async send(commands) {
      try {
        return await publisher?.send(commands);
      } catch (err) {
        if (err instanceof BrokerError) return undefined;
        throw err;
      }
    },
    isOpen: () => publisher !== undefined,
    async close() {
      stop.abort();
      await running;
    },
  };
}
