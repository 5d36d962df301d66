/**
 * Keeps something connected for ever: opens it, and opens it again whenever it is lost, waiting longer after each failure.
 * A worker without its broker waits; it never gives up, because Kubernetes would only start it again.
 */
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';

/** Something that is open until it is lost or closed. */
export interface Closable {
  close(): void;
}

/** Whether it is connected, and if not, why not. */
export type ConnectionState = { readonly kind: 'up' } | { readonly kind: 'down'; readonly why: string };

/** What to keep connected. */
export interface ConnectionOptions<T extends Closable> {
  /** What is connected to, for the log: `broker`, `backend`. */
  readonly what: string;
  /** `host:port/db`. */
  readonly display: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Opens it. `onLost` is to be called once when it ends by itself. */
  readonly open: (signal: AbortSignal, onLost: (why: Error) => void) => Promise<T>;
  /** It is open now. A rejection counts as lost. */
  readonly onUp: (session: T) => Promise<void> | void;
  /** It is not open any more. */
  readonly onDown?: (why: Error) => void;
}

/** Something that is kept connected. */
export interface Connection<T> {
  /** What is open now. */
  current(): T | undefined;
  state(): ConnectionState;
  /** Ends what is open because it is of no use (a replica, a lost script), and opens it again after a pause. */
  renew(why: Error): void;
  /** Says that it has done its work, so that the next pause is short. */
  proved(): void;
  close(): void;
}

/** Pauses between attempts: the first at once but for a little, then doubling, in milliseconds. */
const pauses = { firstMs: 50, maxMs: 5_000 } as const;

/** Connects, and stays connected until `close`. */
export function keepConnected<T extends Closable>(options: ConnectionOptions<T>): Connection<T> {
  const { clock, log, what, display } = options;
  const stop = new AbortController();
  let session: T | undefined;
  let state: ConnectionState = { kind: 'down', why: 'not connected yet' };
  let failures = 0;
  let saidWhy: string | undefined;
  let generation = 0;

  const lost = (of: number, why: Error): void => {
    if (of !== generation || stop.signal.aborted) return;
    generation += 1;
    const wasUp = session !== undefined;
    session?.close();
    session = undefined;
    state = { kind: 'down', why: why.message };
    if (saidWhy !== why.message)
      log.warn(`no connection to the ${what}; trying again`, { server: display, why: why.message });
    saidWhy = why.message;
    if (wasUp) options.onDown?.(why);
    const ceilingMs = Math.min(pauses.maxMs, pauses.firstMs * 2 ** failures);
    failures += 1;
    // Not all workers at the same moment.
    clock.setTimer(ceilingMs * (0.5 + Math.random() / 2), () => void attempt());
  };

  const attempt = async (): Promise<void> => {
    if (stop.signal.aborted) return;
    const mine = generation;
    let opened: T;
    try {
      opened = await options.open(stop.signal, (why) => lost(mine, why));
    } catch (err) {
      lost(mine, err instanceof Error ? err : new Error(String(err)));
      return;
    }
    if (mine !== generation || stop.signal.aborted) {
      opened.close();
      return;
    }
    session = opened;
    try {
      await options.onUp(opened);
    } catch (err) {
      lost(mine, err instanceof Error ? err : new Error(String(err)));
      return;
    }
    if (mine !== generation) return;
    state = { kind: 'up' };
    if (saidWhy !== undefined) log.info(`connected to the ${what} again`, { server: display });
    saidWhy = undefined;
  };

  void attempt();
  return {
    current: () => session,
    state: () => state,
    renew: (why) => lost(generation, why),
    proved: () => {
      failures = 0;
    },
    close: () => {
      stop.abort();
      generation += 1;
      session?.close();
      session = undefined;
      state = { kind: 'down', why: 'closed' };
    },
  };
}
