/**
 * The session with Redis, made again for ever. It owns nothing but the connection: what was on its way when the
 * connection ended is the business of whoever sent it.
 *
 *   opening ──► open ──lost──► opening …   (at once, then after 100 ms, doubling to 5 s, with jitter)
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError } from '../../operator/broker/failures.ts';
import { openSession, type Session } from '../../operator/broker/session.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import { loadScripts } from './script.ts';

/** How the link is. */
export type LinkState =
  | { readonly kind: 'opening'; /** Why the last attempt failed; absent at first. */ readonly why?: string }
  | {
      readonly kind: 'open';
      /** Whether Redis announces changes; else lists are looked at once a second. */ readonly announces: boolean;
    };

/** A link to one Redis. */
export interface Link {
  /** Sends commands in one round trip. Rejects with a BrokerError when there is no connection, or it ended meanwhile. */
  send(commands: readonly Command[]): Promise<readonly Reply[]>;
  /** Runs one script, which Redis may have forgotten, and gives its answer. Rejects with the error that it gives too. */
  evaluate(command: Command): Promise<unknown>;
  /** Makes the connection anew: this one leads to a server that is of no use. */
  renew(): void;
  state(): LinkState;
  close(): Promise<void>;
}

/** What a link needs. */
export interface LinkOptions {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  readonly log: Logger;
  /** The most that connecting or a round trip may take: silence for longer is the end of the connection. */
  readonly timeoutMs: number;
  /** Called on every new connection, before anything else is sent. What it rejects with ends the connection. */
  readonly onOpen: () => Promise<void>;
  /** Called when Redis announced a change of keys that were read, and when there is a new connection: all may have changed. */
  readonly onAnnounced: (keys: readonly string[] | 'all') => void;
  /** Called when the connection is lost. */
  readonly onLost: () => void;
}

const backoffMs = { first: 100, most: 5_000 };
/** How often both connections are asked for a sign of life: a worker that only waits would never notice that one is dead. */
const aliveMs = 5_000;
const noSeries = { sent: () => undefined, state: () => undefined, release: () => undefined };

/** Opens a link and keeps it. */
export function createLink(options: LinkOptions): Link {
  const { endpoint, clock, log, timeoutMs } = options;
  const stop = new AbortController();
  let session: Session | undefined;
  let state: LinkState = { kind: 'opening' };
  const stateNow = (): LinkState => state;
  const isStopped = (): boolean => stop.signal.aborted;
  let wasLost: () => void = () => undefined;

  const send = (commands: readonly Command[]): Promise<readonly Reply[]> =>
    session === undefined
      ? Promise.reject(new BrokerError('Unreachable', `there is no connection to ${endpoint.display}`))
      : session.send(commands);

  const evaluate = async (command: Command): Promise<unknown> => {
    let [reply] = await send([command]);
    if (reply?.kind === 'error' && reply.error.message.includes('NOSCRIPT')) {
      reply = (await send([...loadScripts, command])).at(-1);
    }
    if (reply?.kind !== 'ok') throw reply?.error ?? new Error('no answer');
    return reply.value;
  };

  /** Silence ends the session by itself. */
  const stayAlive = async (asked: Session, ended: AbortSignal): Promise<void> => {
    for (;;) {
      await clock.sleep(aliveMs, ended);
      if (ended.aborted) return;
      await Promise.all([asked.send([['ping']]), asked.checkSubscriber()]);
    }
  };

  /** One connection, from its beginning to its end. */
  const live = async (): Promise<void> => {
    const lost = new Promise<void>((resolve) => (wasLost = resolve));
    session = await openSession({
      ...{ endpoint, clock, timeoutMs, series: noSeries, signal: stop.signal },
      onAnnounced: (keys) => options.onAnnounced(keys),
      onLost: () => wasLost(),
    });
    const replies = await session.send(loadScripts);
    const refused = replies.find((reply) => reply.kind === 'error');
    if (refused?.kind === 'error') throw refused.error;
    await options.onOpen();
    state = { kind: 'open', announces: session.tracking.kind === 'push' };
    log.info('connected', { broker: endpoint.display });
    if (session.tracking.kind === 'poll') log.warn('queues are looked at once a second', { why: session.tracking.why });
    options.onAnnounced('all');
    const ended = new AbortController();
    void stayAlive(session, ended.signal).catch(() => wasLost());
    await lost;
    ended.abort();
    if (!stop.signal.aborted) log.warn('connection lost', { broker: endpoint.display, why: session.lost()?.message });
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!stop.signal.aborted) {
      const sinceMs = clock.monotonicMs();
      try {
        await live();
        if (clock.monotonicMs() - sinceMs > backoffMs.most) failures = 0;
      } catch (err) {
        const why = err instanceof Error ? err.message : String(err);
        const isNews = state.kind === 'open' || state.why !== why;
        if (isNews && !isStopped()) log.warn('cannot connect, trying again', { broker: endpoint.display, why });
        state = { kind: 'opening', why };
      }
      session?.close();
      session = undefined;
      if (stateNow().kind === 'open') state = { kind: 'opening' };
      options.onLost();
      const waitMs = failures === 0 ? 10 : Math.min(backoffMs.most, backoffMs.first * 2 ** Math.min(failures, 10));
      failures += 1;
      await clock.sleep(waitMs * (0.5 + Math.random() / 2), stop.signal);
    }
  };
  const running = run();

  return {
    send,
    evaluate,
    renew: () => wasLost(),
    state: stateNow,
    async close() {
      stop.abort();
      wasLost();
      await running;
    },
  };
}
