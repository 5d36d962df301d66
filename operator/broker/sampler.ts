/**
 * One loop per broker, for all pools that use it. It keeps the newest reading of every queue in memory and reads again
 * only what Redis announced as changed; an idle fleet costs no command but a full read every ten seconds.
 *
 *   connecting ──opened, read──► ok (push | poll) ──connection lost──► (readings kept while one attempt is made)
 *       ▲                          │  ▲                                  │ it fails
 *       │               read fails │  │ read succeeds                    ▼
 *       └──────── backoff ─────── failed (reason): every reading unknown; asked again by itself, for ever
 *
 * The loop is one sequence of awaits, so at most one read is under way per broker, and a broker that answers slowly or
 * not at all holds up nobody but its own pools.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createBoard } from './board.ts';
import type { BrokerEndpoint } from './endpoint.ts';
import { BrokerError } from './failures.ts';
import { createHeldCounter, type HeldCounter } from './held.ts';
import type { BrokerSeries } from './metrics.ts';
import { readBroker } from './read.ts';
import { sameState, type BrokerState, type TimedReading } from './reading.ts';
import { openSession, type Session } from './session.ts';

/** What pools see of a broker. Answers come from memory. */
export interface BrokerSampler {
  readonly endpoint: BrokerEndpoint;
  /** The newest reading of a queue; one begun before `sinceMs` (monotonic) is not current, and soon read again. */
  reading(queue: string, sinceMs?: number): TimedReading;
  /** How the broker is. */
  state(): BrokerState;
  /** Calls back with the queues whose reading changed (or is current, after it was not), or `state` when the broker's state did and with it any reading. */
  onChange(fn: (changed: readonly string[] | 'state') => void): void;
}

/** The sampler as its owner sees it. */
export interface OwnedSampler extends BrokerSampler {
  /** Reads a queue from now on. */
  add(queue: string): void;
  /** Stops reading a queue. */
  remove(queue: string): void;
  /** Ends the loop and its connections. */
  close(): Promise<void>;
}

/** Times of a sampler, in milliseconds. */
export interface SamplerTimes {
  /** How often a queue is read that changes all the time, and every queue where changes are not announced. */
  readonly tickMs: number;
  /** How often everything is read, announced or not. */
  readonly fullReadMs: number;
  /** The most that connecting or one round trip may take. */
  readonly timeoutMs: number;
}

/** How long a session without announcements is used before another is tried with them. */
const retryTrackingMs = 60_000;
/** A session that ends sooner counts as a failed attempt, so that a broker that drops clients is not hammered. */
const briefSessionMs = 2_000;
const backoffMs = { first: 100, most: 5_000 };
/** Urgent reads leave this between them, and more when they are large: about a tenth of a core at most. */
const gapMs = { least: 5, perQueue: 0.2 };

/** Starts a sampler. */
export function createSampler(
  options: { endpoint: BrokerEndpoint; clock: Clock; log: Logger; series: BrokerSeries } & SamplerTimes,
): OwnedSampler {
  const { endpoint, clock, series, tickMs, fullReadMs } = options;
  const log = options.log.child({ broker: endpoint.display });
  const board = createBoard(endpoint, tickMs);
  const stop = new AbortController();
  const isStopped = (): boolean => stop.signal.aborted;
  const listeners: ((changed: readonly string[] | 'state') => void)[] = [];
  let state: BrokerState = { kind: 'connecting' };
  let counter: HeldCounter = createHeldCounter(endpoint);
  /** Attempts in a row that did not lead to a session of some length. */
  let failures = 0;
  let lastTickMs = -Infinity;
  let wake: () => void = () => undefined;

  const tell = (changed: readonly string[] | 'state'): void => {
    for (const listener of listeners) {
      try {
        listener(changed);
      } catch (err) {
        log.error('a listener of the broker failed', { err });
      }
    }
  };

  /** Waits until `ms` have passed or something asks for attention. */
  const pause = async (ms: number): Promise<void> => {
    const waiting = new AbortController();
    const rouse = (): void => waiting.abort();
    wake = rouse;
    stop.signal.addEventListener('abort', rouse, { once: true });
    await clock.sleep(ms, waiting.signal);
    stop.signal.removeEventListener('abort', rouse);
  };

  const setState = (next: BrokerState): void => {
    if (sameState(state, next)) return;
    state = next;
    series.state(next.kind === 'ok', next.kind === 'ok' && next.tracking === 'push');
    if (next.kind === 'failed') log.warn('broker cannot be read', { reason: next.reason, why: next.message });
    else if (next.kind === 'ok') log.info('broker is read', { tracking: next.tracking, why: next.trackingWhy });
    tell('state');
  };

  const setFailed = (failure: BrokerError): void => {
    board.fail(failure.message, clock.monotonicMs());
    counter = createHeldCounter(endpoint);
    setState({ kind: 'failed', reason: failure.reason, message: failure.message });
  };

  const onAnnounced = (keys: readonly string[] | 'all'): void => {
    const nowMs = clock.monotonicMs();
    if (keys === 'all') {
      board.announcedAll(nowMs);
      counter.forgetBindings();
    } else {
      for (const key of board.announced(keys, nowMs)) if (counter.forgetBindings(key)) board.heldStale();
    }
    wake();
  };

  /** One round trip: what is due, a step of the count of held messages, and with `full` everything. */
  const readOnce = async (session: Session, full: boolean, mayCount: boolean): Promise<ReadCost> => {
    const startMs = clock.monotonicMs();
    const chosen = board.choose(startMs, full, mayCount);
    if (full) counter.forgetBindings();
    if (chosen.held) counter.begin();
    const step = counter.commands();
    const { kind } = session.tracking;
    const result = await readBroker(
      { endpoint, tracking: kind, send: (commands) => session.send(commands) },
      { queues: chosen.queues, held: step, check: full },
    );
    const tookMs = clock.monotonicMs() - startMs;
    if (!result.announces) throw new LostAnnouncements('the broker stopped announcing changes');
    if (full) await session.checkSubscriber();
    const held = counter.take(result.held);
    const different = board.absorb(chosen, { ready: result.ready, ...(held === undefined ? {} : { held }) }, startMs);
    setState(
      session.tracking.kind === 'push'
        ? { kind: 'ok', tracking: 'push' }
        : { kind: 'ok', tracking: 'poll', trackingWhy: session.tracking.why },
    );
    if (different.length > 0) tell(different);
    return { queues: chosen.queues.length, countMs: step.length > 0 ? tookMs : 0 };
  };

  /** Reads for as long as the session lasts; returns when it should be replaced. */
  const runSession = async (session: Session): Promise<void> => {
    const sinceMs = clock.monotonicMs();
    let lastFullMs = -Infinity;
    /** Nothing urgent is read before this. */
    let restMs = -Infinity;
    /** No count of held messages begins before this; Infinity while one is under way. */
    let countRestMs = -Infinity;
    /** How long the steps of the present count took. */
    let countMs = 0;
    while (!isStopped()) {
      const lost = session.lost();
      if (lost !== undefined) throw lost;
      const nowMs = clock.monotonicMs();
      if (nowMs - lastTickMs >= tickMs) {
        lastTickMs = nowMs;
        board.tick(session.tracking.kind === 'poll');
        if (state.kind === 'failed') lastFullMs = -Infinity;
        if (nowMs - sinceMs >= briefSessionMs && state.kind === 'ok') failures = 0;
      }
      const full = nowMs - lastFullMs >= fullReadMs;
      if (full && session.tracking.kind === 'poll' && nowMs - sinceMs >= retryTrackingMs) return;
      const isCounting = counter.commands().length > 0;
      const wantedMs = isCounting ? nowMs : board.nextDueMs(countRestMs);
      const dueMs = full ? nowMs : Math.max(wantedMs, restMs);
      if (dueMs > nowMs) {
        await pause(Math.min(dueMs, lastTickMs + tickMs, lastFullMs + fullReadMs) - nowMs);
        continue;
      }
      if (full) lastFullMs = nowMs;
      try {
        const cost = await readOnce(session, full, !isCounting && (full || nowMs >= countRestMs));
        const endMs = clock.monotonicMs();
        restMs = endMs + (full ? gapMs.least : Math.max(gapMs.least, gapMs.perQueue * cost.queues));
        countMs += cost.countMs;
        if (counter.commands().length > 0) countRestMs = Infinity;
        else if (cost.countMs > 0) {
          countRestMs = endMs + Math.min(fullReadMs, 9 * countMs);
          countMs = 0;
        }
      } catch (err) {
        if (!(err instanceof BrokerError) || err.reason === 'WrongPassword' || session.lost() !== undefined) throw err;
        // The connection stands and Redis refused: ask again over it, on the next tick.
        setFailed(err);
        await clock.sleep(Math.max(0, lastTickMs + tickMs - clock.monotonicMs()), stop.signal);
      }
    }
  };

  /** A connection that was lost is made again at once; only when that fails too are the readings given up. */
  const recover = async (err: unknown): Promise<void> => {
    const attempt = failures++;
    if (err instanceof LostAnnouncements) log.warn('broker stopped announcing changes, connecting again');
    else if (!(err instanceof BrokerError)) log.error('sampling a broker failed', { err });
    if (attempt === 0 && state.kind === 'ok') return;
    setFailed(
      err instanceof BrokerError ? err : new BrokerError('Unknown', `broker ${endpoint.display}: ${String(err)}`),
    );
    const mostMs = Math.min(backoffMs.most, backoffMs.first * 2 ** Math.min(attempt, 10));
    await clock.sleep(mostMs * (0.5 + Math.random() / 2), stop.signal);
  };

  const run = async (): Promise<void> => {
    while (!isStopped()) {
      let session: Session | undefined;
      try {
        counter = createHeldCounter(endpoint);
        session = await openSession({ ...options, signal: stop.signal, onAnnounced, onLost: () => wake() });
        await runSession(session);
      } catch (err) {
        if (!isStopped()) await recover(err);
      } finally {
        session?.close();
      }
    }
  };
  const running = run();

  return {
    endpoint,
    reading: (queue, sinceMs) => board.reading(queue, sinceMs),
    state: () => state,
    onChange: (fn) => void listeners.push(fn),
    add(queue) {
      board.add(queue);
      wake();
    },
    remove: (queue) => board.remove(queue),
    async close() {
      stop.abort();
      await running;
    },
  };
}

interface ReadCost {
  /** Queues that were read. */
  readonly queues: number;
  /** How long a step of the count took; 0 when there was none. */
  readonly countMs: number;
}

/** Redis says that it does not announce changes any more, though both connections stand. */
class LostAnnouncements extends Error {}
