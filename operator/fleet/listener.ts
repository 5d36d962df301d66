/**
 * Listens to the heartbeats of one broker and keeps listening: a subscription that is lost is made again, with backoff.
 * What it hears it hands on; it knows nothing of pools.
 */
import { openConnection, type Connection } from '../broker/connection.ts';
import type { BrokerEndpoint } from '../broker/endpoint.ts';
import { BrokerError } from '../broker/failures.ts';
import { heartbeatPattern } from '../broker/keys.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';

/** Whether heartbeats are being heard. */
export type ListenerState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'ok'; /** Since when, on the monotonic clock. */ readonly sinceMs: number }
  | { readonly kind: 'failed'; readonly message: string };

/** One subscription. */
export interface Listener {
  state(): ListenerState;
  close(): Promise<void>;
}

/** The most that connecting or a sign of life may take. */
const timeoutMs = 3_000;
/** A connection that brought nothing for so long is asked for a sign of life: a half-open socket is silent for ever. */
const quietMs = 10_000;
const briefMs = 2_000;
const backoffMs = { first: 100, most: 5_000 };

/** Starts listening. */
export function createListener(options: {
  readonly endpoint: BrokerEndpoint;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onMessage: (text: string) => void;
  readonly onState: (state: ListenerState) => void;
}): Listener {
  const { endpoint, clock } = options;
  const log = options.log.child({ broker: endpoint.display });
  const stop = new AbortController();
  const isStopped = (): boolean => stop.signal.aborted;
  let state: ListenerState = { kind: 'connecting' };
  let failures = 0;

  const setState = (next: ListenerState): void => {
    const isNews = next.kind !== state.kind || (next.kind === 'failed' && !sameFailure(state, next.message));
    state = next;
    if (!isNews) return;
    options.onState(next);
    if (next.kind === 'failed') log.warn('heartbeats cannot be heard', { why: next.message });
    else if (next.kind === 'ok') log.info('heartbeats are heard');
  };

  /** Listens until the connection is lost; rejects with the reason. */
  const listen = async (): Promise<void> => {
    let lost: BrokerError | undefined;
    let rouse = (): void => undefined;
    let heardMs = clock.monotonicMs();
    const connection: Connection = await openConnection({
      endpoint,
      clock,
      name: 'muster-heartbeats',
      timeoutMs,
      signal: stop.signal,
      selectsDatabase: false,
      onSend: () => undefined,
      onLost: (failure) => {
        lost = failure;
        rouse();
      },
    });
    const lostNow = (): BrokerError | undefined => lost;
    try {
      await connection.subscribePattern(heartbeatPattern(endpoint), (_channel, text) => {
        heardMs = clock.monotonicMs();
        options.onMessage(text);
      });
      const sinceMs = clock.monotonicMs();
      setState({ kind: 'ok', sinceMs });
      while (!isStopped()) {
        const failure = lostNow();
        if (failure !== undefined) throw failure;
        const nowMs = clock.monotonicMs();
        if (nowMs - sinceMs >= briefMs) failures = 0;
        if (nowMs - heardMs >= quietMs) {
          await connection.ping();
          heardMs = clock.monotonicMs();
          continue;
        }
        const waiting = new AbortController();
        rouse = () => waiting.abort();
        stop.signal.addEventListener('abort', rouse, { once: true });
        await clock.sleep(
          Math.min(quietMs, heardMs + quietMs - nowMs, ...(failures > 0 ? [briefMs] : [])),
          waiting.signal,
        );
        stop.signal.removeEventListener('abort', rouse);
      }
    } finally {
      connection.close();
    }
  };

  const run = async (): Promise<void> => {
    while (!isStopped()) {
      try {
        await listen();
      } catch (err) {
        if (isStopped()) return;
        const attempt = failures++;
        if (!(err instanceof BrokerError)) log.error('listening to heartbeats failed', { err });
        const message = err instanceof BrokerError ? err.message : `broker ${endpoint.display}: unexpected failure`;
        // One lost connection is made again at once and is no news; workers become silent only after seconds.
        if (attempt === 0 && state.kind === 'ok') continue;
        setState({ kind: 'failed', message });
        const mostMs = Math.min(backoffMs.most, backoffMs.first * 2 ** Math.min(attempt, 10));
        await clock.sleep(mostMs * (0.5 + Math.random() / 2), stop.signal);
      }
    }
  };
  const running = run();

  return {
    state: () => state,
    async close() {
      stop.abort();
      await running;
    },
  };
}

function sameFailure(state: ListenerState, message: string): boolean {
  return state.kind === 'failed' && state.message === message;
}
