/**
 * Results in another Redis than the broker's. What is to be stored waits here while that Redis cannot be reached, and with
 * it the acknowledgement of the task and its slot: a backend that is gone stops a worker, and loses nothing.
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import type { ResultKeys } from '../protocol/keys.ts';
import { buildResultMeta } from '../protocol/result.ts';
import { isWorthRetrying } from '../transport/exchange.ts';
import { createLink, type Link } from '../transport/link.ts';
import { loadScripts, scripts } from '../transport/script.ts';
import { storeCommand, type ResultBackend } from './backend.ts';

/** A backend with a connection of its own. */
export interface SeparateBackend extends ResultBackend {
  /** Waits until everything is stored, or `signal` aborts, and ends the connection. */
  close(signal: AbortSignal): Promise<void>;
}

/** What it needs. */
export interface SeparateBackendOptions {
  readonly endpoint: BrokerEndpoint;
  readonly keys: ResultKeys;
  /** How long (s) results are kept; 0: for ever. */
  readonly keepSeconds: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeoutMs: number;
}

interface Waiting {
  readonly command: Command;
  readonly done: () => void;
}

const most = 500;
const retryMs = 500;

/** Opens it; it connects for ever. */
export function createSeparateBackend(options: SeparateBackendOptions): SeparateBackend {
  const { clock, log, keys, keepSeconds } = options;
  let waiting: Waiting[] = [];
  let isSending = false;
  let refusal = '';
  const whenEmpty = new Set<() => void>();

  const pump = (): void => {
    if (waiting.length === 0 && !isSending) for (const resolve of whenEmpty) resolve();
    if (isSending || waiting.length === 0 || link.state().kind !== 'open') return;
    isSending = true;
    const batch = waiting.splice(0, most);
    void link
      .send(batch.map(({ command }) => command))
      // The connection is lost: the same again over the next one. A state that is stored twice is stored once.
      .catch((): readonly Reply[] => [])
      .then((replies) => settle(batch, replies))
      .finally(() => {
        isSending = false;
        pump();
      });
  };

  const settle = async (batch: readonly Waiting[], replies: readonly Reply[]): Promise<void> => {
    const again = batch.filter((_, place) => replies[place] === undefined || isWorthRetrying(replies[place]));
    waiting = [...again, ...waiting];
    batch.forEach(({ done }, place) => {
      const reply = replies[place];
      if (reply === undefined || isWorthRetrying(reply)) return;
      if (reply.kind === 'error') log.error('a result cannot be stored', { why: reply.error.message });
      done();
    });
    const refused = replies.find(isWorthRetrying);
    const why = refused?.kind === 'error' ? refused.error.message : '';
    if (why.includes('NOSCRIPT')) await link.send(loadScripts).catch(() => undefined);
    else if (why !== '') {
      if (why !== refusal) log.warn('the result backend refuses, trying again', { why });
      await clock.sleep(retryMs);
    }
    refusal = why;
  };

  const link: Link = createLink({
    ...options,
    onOpen: () => Promise.resolve(),
    onAnnounced: pump,
    onLost: () => undefined,
  });

  const add = (command: Command): Promise<void> =>
    new Promise((resolve) => {
      waiting.push({ command, done: resolve });
      // In a turn of its own: what becomes of many tasks at once goes out together.
      if (waiting.length === 1) queueMicrotask(pump);
    });

  return {
    store: (meta) => add(storeCommand(keys, meta, keepSeconds)),
    send: add,
    takesRoundTrip: true,
    revoke(meta) {
      void add(['evalsha', scripts.revoke.sha, 1, keys.taskMeta(meta.taskId), keepSeconds, buildResultMeta(meta)]);
    },
    async close(signal) {
      await new Promise<void>((resolve) => {
        whenEmpty.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
        if (!isSending) pump();
      });
      await link.close();
    },
  };
}

/** Whether results go to the very database that the broker is. */
export function isSameRedis(one: BrokerEndpoint, other: BrokerEndpoint): boolean {
  return one.display === other.display && one.redis.username === other.redis.username && sameTls(one, other);
}

function sameTls(one: BrokerEndpoint, other: BrokerEndpoint): boolean {
  return (one.redis.tls === undefined) === (other.redis.tls === undefined);
}
