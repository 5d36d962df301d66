/**
 * The two connections to one broker that live and die together: one that reads, and one on which Redis announces what
 * changed (client tracking, redirected). Tracking is bound to both connections, so when either ends nothing that was
 * announced or not announced can be trusted any more; one session with one end makes that simple.
 */
import type { Clock } from '../runtime/clock.ts';
import type { BrokerSeries } from './metrics.ts';
import type { BrokerEndpoint } from './endpoint.ts';
import { BrokerError } from './failures.ts';
import { openConnection, type Command, type Connection, type Reply } from './connection.ts';
import { invalidateChannel } from './keys.ts';

/** Whether Redis announces changes, and if it does not, why, in words for the pool's status. */
export type Tracking = { readonly kind: 'push' } | { readonly kind: 'poll'; readonly why: string };

const subscriberName = 'muster-invalidations';

/** An open session. */
export interface Session {
  readonly tracking: Tracking;
  /** Sends commands in one round trip. */
  send(commands: readonly Command[]): Promise<readonly Reply[]>;
  /** Checks that the announcing connection still lives; rejects or ends the session when it does not. */
  checkSubscriber(): Promise<void>;
  /** What ended the session, once it has ended. */
  lost(): BrokerError | undefined;
  /** Ends the session. */
  close(): void;
}

/** What a session needs. */
export interface SessionOptions {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  readonly series: BrokerSeries;
  readonly timeoutMs: number;
  /** Ends the session, and an attempt to open one. */
  readonly signal: AbortSignal;
  /** Keys that changed since they were read; `all` after a FLUSHALL. */
  readonly onAnnounced: (keys: readonly string[] | 'all') => void;
  /** Called once when the session ends by itself. */
  readonly onLost: () => void;
}

/** Opens a session, or rejects with the BrokerError that says why there is none. */
export async function openSession(options: SessionOptions): Promise<Session> {
  let lost: BrokerError | undefined;
  const connections: Connection[] = [];
  const closeAll = (): void => {
    for (const connection of connections) connection.close();
  };
  let isOpening = true;
  let refused: BrokerError | undefined;
  const refusedNow = (): BrokerError | undefined => refused;
  const open = async (name: string, selectsDatabase: boolean): Promise<Connection> => {
    const connection: Connection = await openConnection({
      endpoint: options.endpoint,
      clock: options.clock,
      name,
      timeoutMs: options.timeoutMs,
      signal: options.signal,
      selectsDatabase,
      onSend: (commands) => options.series.sent(commands),
      onLost: (failure) => {
        if (lost !== undefined) return;
        // The second connection may be refused while the first is good: then there is a session without it.
        if (isOpening && name === subscriberName) {
          refused = failure;
          return;
        }
        lost = failure;
        closeAll();
        options.onLost();
      },
    });
    connections.push(connection);
    return connection;
  };

  const reader = await open('muster-sampler', true);
  let subscriber: Connection | undefined;
  let tracking: Tracking;
  try {
    subscriber = await open(subscriberName, false);
    await arm(reader, subscriber, options.onAnnounced);
    const failure = refusedNow();
    if (failure !== undefined) throw failure;
    tracking = { kind: 'push' };
  } catch (err) {
    subscriber?.close();
    subscriber = undefined;
    if (lost !== undefined) throw lost;
    tracking = { kind: 'poll', why: refusal(err) };
  }
  isOpening = false;

  return {
    tracking,
    send: (commands) => reader.send(commands),
    checkSubscriber: async () => subscriber?.ping(),
    lost: () => lost,
    close: closeAll,
  };
}

/** Asks Redis to announce, on the subscriber, every change of a key that the reader has read. */
async function arm(
  reader: Connection,
  subscriber: Connection,
  onAnnounced: (keys: readonly string[] | 'all') => void,
): Promise<void> {
  const [id] = await subscriber.send([['client', 'ID']]);
  if (id?.kind !== 'ok') throw new Refused('CLIENT ID', id?.error);
  await subscriber.subscribe(invalidateChannel, (payload) => onAnnounced(changedKeys(payload)));
  const [on] = await reader.send([['client', 'TRACKING', 'ON', 'REDIRECT', Number(id.value)]]);
  if (on?.kind !== 'ok') throw new Refused('CLIENT TRACKING', on?.error);
}

/** The keys of an announcement; FLUSHALL announces null, which stands for every key. */
function changedKeys(payload: unknown): readonly string[] | 'all' {
  if (!Array.isArray(payload)) return 'all';
  return payload.map((key: unknown) => (Buffer.isBuffer(key) ? key.toString('utf8') : String(key)));
}

class Refused extends Error {
  readonly command: string;

  constructor(command: string, cause: Error | undefined) {
    super(cause?.message ?? 'no answer');
    this.command = command;
  }
}

function refusal(err: unknown): string {
  const consequence = 'queues are read on every tick instead';
  if (err instanceof Refused) {
    const why = err.message.startsWith('NOPERM')
      ? `its ACL does not let the user run ${err.command}; allow +client|id +client|tracking +client|trackinginfo`
      : `it does not know ${err.command} (Redis before 6, or a proxy)`;
    return `the broker does not push changes: ${why}; ${consequence}`;
  }
  if (err instanceof BrokerError && err.reason === 'NoPermission') {
    return `the broker does not push changes: its ACL does not let the user subscribe to ${invalidateChannel}; allow +subscribe &${invalidateChannel}; ${consequence}`;
  }
  return `the broker does not push changes: ${err instanceof Error ? err.message : 'no second connection'}; ${consequence}`;
}
