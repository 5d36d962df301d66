/**
 * Keeps a sink equal to a collection: list, then watch, for ever, whatever happens to the network or the server. It
 * ends only when told to. It knows nothing of what the sink does with the objects.
 *
 *            ┌── expired, or the server lost state ───────────────────┐
 *            ▼                                                        │
 *   start ► WATCH that sends what is there first ──► events ──► end ──┤
 *            │ refused, or ended before that             ▲            │
 *            ▼                                           │            │
 *           LIST ──────────────────────────────────► WATCH            │
 *            ▲ │                                         ▲            │
 *            └─┴─ failed: backoff                        └── closed: at once; failed or very short: backoff, same version
 */
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createBackoff, type BackoffLimits } from './backoff.ts';
import { isKubeError, type KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import type { Transport } from './transport.ts';
import { pathOf, type KubeList } from './types.ts';
import { runWatch, type RawItem, type WatchEnd, type WatchEvent, type WatchScope } from './watch.ts';

/** Where the reflector puts what it sees. Neither method may throw. */
export interface ReflectorSink {
  /** The whole collection comes, object by object; what was not put is gone at its end. Not every one comes to an end. */
  replace(): SinkReplacement;
  /** One change; `modified` may be of an object not seen before, `deleted` of one already gone. */
  change(type: 'added' | 'modified' | 'deleted', object: RawItem): void;
}

/** The whole collection on its way. Neither may throw. */
export interface SinkReplacement {
  readonly put: (item: RawItem) => void;
  readonly end: () => void;
}

/** Limits of a reflector; all have defaults. */
export interface ReflectorLimits extends BackoffLimits {
  /** The server closes a watch after a random time between these, so that not all come back at once. */
  readonly watchMinSeconds: number;
  readonly watchMaxSeconds: number;
  /** Milliseconds without a byte after which a watch counts as half-open. Must exceed the bookmark period of 1 min. */
  readonly inactivityMs: number;
  /** A watch that ends sooner than this is an error, so that a server that closes at once is not hammered. */
  readonly shortWatchMs: number;
  /**
   * Longest wait after a connection that failed. Trying costs the server nothing, and after a restart of the API server
   * a cache should be stale for seconds, not for half a minute.
   */
  readonly unansweredMaxMs: number;
  /** Objects per answer where the server pages (it does not for version "0", which its cache answers). */
  readonly pageSize: number;
  /** Milliseconds for one try of a list. */
  readonly listTimeoutMs: number;
}

export const defaultReflectorLimits: ReflectorLimits = {
  baseMs: 800,
  maxMs: 30_000,
  jitter: 1,
  resetAfterMs: 120_000,
  watchMinSeconds: 300,
  watchMaxSeconds: 600,
  inactivityMs: 100_000,
  shortWatchMs: 1_000,
  unansweredMaxMs: 5_000,
  pageSize: 500,
  listTimeoutMs: 60_000,
};

/**
 * How a collection is read as a whole. `streamed`: object by object at the beginning of the watch (Kubernetes 1.32, and
 * from 1.34 on), so that a thousand objects are never in memory as they came; where the server cannot, and after any
 * failure of it, `paged`: as one or several lists.
 */
export type Listing = 'streamed' | 'paged';

/** What a reflector is built from. */
export interface ReflectorOptions extends WatchScope {
  readonly transport: Transport;
  readonly sink: ReflectorSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: KubeMetrics;
  readonly limits?: Partial<ReflectorLimits> | undefined;
  /** 0 ≤ r < 1; `Math.random` when absent. */
  readonly random?: (() => number) | undefined;
  /** `streamed` when absent. */
  readonly listing?: Listing | undefined;
}

/** A running copy of a collection. */
export interface Reflector {
  /** Runs until the signal aborts; never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** The version up to which the sink is complete; undefined before the first list. */
  resourceVersion(): string | undefined;
  /** Milliseconds since the server was last heard of (list, event or bookmark); undefined before the first list. */
  silentMs(): number | undefined;
}

/** Builds a reflector. */
export function createReflector(options: ReflectorOptions): Reflector {
  const { transport, sink, clock, metrics, resource } = options;
  const limits = { ...defaultReflectorLimits, ...options.limits };
  const random = options.random ?? Math.random;
  const name = resource.plural;
  const log = options.log.child({ resource: name });
  // Two, so that a long refusal does not make the first error of the server that came back wait half a minute.
  const answeredBackoff = createBackoff(clock, random, limits);
  const unansweredBackoff = createBackoff(clock, random, { ...limits, maxMs: limits.unansweredMaxMs });
  const path = pathOf(resource, options.namespace);
  for (const counter of [metrics.lists, metrics.watches]) counter.inc({ name }, 0);
  let version: string | undefined;
  /** '0' is served from the server's cache; then never older than what we had; '' (newest, from etcd) after "expired". */
  let listFrom = '0';
  let heardMs: number | undefined;
  let canStream = options.listing !== 'paged';

  const heard = (resourceVersion: string): void => {
    version = resourceVersion;
    heardMs = clock.monotonicMs();
  };

  /** Puts everything there is; gives the version of it. */
  const readPages = async (signal: AbortSignal, put: (item: RawItem) => void): Promise<string> => {
    let token: string | undefined;
    for (;;) {
      const page: KubeList<RawItem> = await transport.json({
        method: 'GET',
        path,
        query: {
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
          // With a version above 0 a limit would mean "exactly that version", which soon expires.
          limit: listFrom === '' || listFrom === '0' ? limits.pageSize : undefined,
          ...(token === undefined ? { resourceVersion: listFrom === '' ? undefined : listFrom } : { continue: token }),
        },
        timeoutMs: limits.listTimeoutMs,
        signal,
      });
      if (!signal.aborted) for (const item of page.items) put(item);
      token = page.metadata.continue;
      if (token === undefined || token === '') return page.metadata.resourceVersion ?? '0';
    }
  };

  /** Lists once: `ok` when the sink is up to date, `unanswered` when there was no connection. */
  const list = async (signal: AbortSignal): Promise<'ok' | 'failed' | 'unanswered'> => {
    try {
      metrics.lists.inc({ name });
      const replacement = sink.replace();
      const resourceVersion = await readPages(signal, replacement.put);
      if (signal.aborted) return 'failed';
      replacement.end();
      heard(resourceVersion);
      listFrom = resourceVersion;
      return 'ok';
    } catch (err) {
      if (signal.aborted) return 'failed';
      if (isTooOldOrTooNew(err)) listFrom = '';
      log.warn('listing failed, trying again', { err });
      return isUnanswered(err) ? 'unanswered' : 'failed';
    }
  };

  /** The list that a watch sends first, until it has sent all of it. */
  let streamed: SinkReplacement | undefined;

  const onEvent = (event: WatchEvent): void => {
    if (streamed !== undefined && event.type !== 'deleted') {
      if (event.type !== 'bookmark') return streamed.put(event.object);
      if (!event.endsInitialEvents) return;
      streamed.end();
      streamed = undefined;
    }
    if (event.type !== 'bookmark') sink.change(event.type, event.object);
    if (streamed === undefined) heard(event.resourceVersion);
    listFrom = event.resourceVersion;
  };

  const fail = (error: KubeError): void => {
    metrics.watchFailures.inc({ name, cause: error.kind });
    log.warn('watch failed, trying again', { err: error });
  };

  /** A stream that ended before it had told what is there: nothing is known of what is not there any more. */
  const giveUpStream = async (end: WatchEnd, signal: AbortSignal): Promise<'unlisted'> => {
    streamed = undefined;
    if (end.kind !== 'failed') return 'unlisted';
    // Below Kubernetes 1.32, in 1.33, and wherever the feature is off.
    canStream = end.error.status !== 422 && end.error.status !== 400;
    if (canStream) fail(end.error);
    else log.debug('the API server does not stream lists; it is asked for pages', { err: end.error });
    if (end.error.retryAfterMs !== undefined) await pause(signal, false, end.error.retryAfterMs);
    return 'unlisted';
  };

  /** Watches until the collection must be listed again, or the signal aborts; begins with a list where asked. */
  const watch = async (signal: AbortSignal, isListed: boolean): Promise<'expired' | 'failed' | 'unlisted'> => {
    if (!isListed) {
      metrics.lists.inc({ name });
      streamed = sink.replace();
    }
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      metrics.watches.inc({ name });
      const spread = (limits.watchMaxSeconds - limits.watchMinSeconds) * random();
      const end = await runWatch({
        ...options,
        resourceVersion: (streamed === undefined ? version : listFrom) ?? '',
        sendsInitialEvents: streamed !== undefined,
        serverTimeoutSeconds: Math.round(limits.watchMinSeconds + spread),
        inactivityMs: limits.inactivityMs,
        signal,
        onEvent,
      });
      const short = clock.monotonicMs() - startMs < limits.shortWatchMs;
      if (streamed !== undefined && end.kind !== 'stopped') return giveUpStream(end, signal);
      switch (end.kind) {
        case 'stopped':
          return 'failed';
        case 'expired':
          metrics.watchFailures.inc({ name, cause: 'expired' });
          // Listing at the version we had means "not older than": it cannot go back in time, and the cache may answer.
          log.info('watch expired, listing again', { resourceVersion: version });
          return 'expired';
        case 'failed':
          fail(end.error);
          if (isTooOldOrTooNew(end.error)) listFrom = '';
          if (end.relist) return 'failed';
          // A watch that had lived and was cut is worth one try at once; what follows if that fails too waits.
          if (short || !end.opened) await pause(signal, isUnanswered(end.error), end.error.retryAfterMs);
          break;
        case 'closed':
          if (end.idle) {
            metrics.watchFailures.inc({ name, cause: 'idle' });
            log.info('watch was silent for too long, watching again', { inactivityMs: limits.inactivityMs });
          } else if (short) {
            metrics.watchFailures.inc({ name, cause: 'short' });
            log.debug('watch was closed at once, waiting');
            await pause(signal);
          }
      }
    }
    return 'failed';
  };

  const pause = (signal: AbortSignal, unanswered = false, atLeastMs = 0): Promise<void> => {
    const waitMs = (unanswered ? unansweredBackoff : answeredBackoff).nextMs();
    return clock.sleep(Math.max(waitMs, atLeastMs), signal);
  };

  /** Reads the collection and watches it, until it must be read again. */
  const listAndWatch = async (signal: AbortSignal): Promise<'expired' | 'failed' | 'unlisted' | 'unanswered'> => {
    const ended = canStream ? await watch(signal, false) : 'unlisted';
    if (ended !== 'unlisted') return ended;
    const listed = await list(signal);
    return listed === 'ok' ? watch(signal, true) : listed;
  };

  return {
    run: async (signal) => {
      while (!signal.aborted) {
        const startMs = clock.monotonicMs();
        const ended = await listAndWatch(signal);
        // A version that expired with age is listed anew at once; one that expires as soon as it is listed must not spin.
        const isAged = ended === 'expired' && clock.monotonicMs() - startMs >= limits.shortWatchMs;
        if (!isAged) await pause(signal, ended === 'unanswered');
      }
    },
    resourceVersion: () => version,
    silentMs: () => (heardMs === undefined ? undefined : clock.monotonicMs() - heardMs),
  };
}

function isUnanswered(err: unknown): boolean {
  return isKubeError(err, 'transport', 'timeout') && err.status === undefined;
}

function isTooOldOrTooNew(err: unknown): boolean {
  return isKubeError(err, 'expired') || (isKubeError(err) && err.causes.includes('ResourceVersionTooLarge'));
}
