/**
 * One watch, from opening to its end. Says how it ended as a value and never throws: deciding what comes next (watch
 * again, wait, list again) is the reflector's.
 */
import type { Clock } from '../runtime/clock.ts';
import { errorFromStatus, isKubeError, KubeError } from './errors.ts';
import { splitLines } from './lines.ts';
import type { Transport } from './transport.ts';
import { pathOf, type ObjectMeta, type Resource } from './types.ts';

/** Which objects to list and watch. */
export interface WatchScope {
  readonly resource: Resource;
  /** All namespaces when absent. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** An object as it came, of which only the metadata is known to exist. */
export interface RawItem {
  readonly metadata: ObjectMeta;
}

/** What a watch reports. Bookmarks only move the resource version; one of them ends the objects that were there before. */
export type WatchEvent =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: RawItem; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string; readonly endsInitialEvents: boolean };

/**
 * How a watch ended:
 * `closed` by the server, or by us because nothing came for too long (`idle`); watch again from the last version;
 * `expired`: that version is gone; list again;
 * `failed`: `relist` says whether the state may have been lost, `opened` whether the server had accepted the watch.
 */
export type WatchEnd =
  | { readonly kind: 'closed'; readonly idle: boolean }
  | { readonly kind: 'expired' }
  | { readonly kind: 'failed'; readonly error: KubeError; readonly relist: boolean; readonly opened: boolean }
  | { readonly kind: 'stopped' };

/** One watch to be made. */
export interface WatchOptions extends WatchScope {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Where it begins; with `sendsInitialEvents` not older than this, and empty for the newest. */
  readonly resourceVersion: string;
  /** Whether what is there comes first, object by object, as `added`; a server that cannot do this refuses the watch. */
  readonly sendsInitialEvents: boolean;
  /** How long the server shall keep it open, seconds. */
  readonly serverTimeoutSeconds: number;
  /** Milliseconds without a byte after which the other end counts as gone. Longer than the bookmark period (1 min). */
  readonly inactivityMs: number;
  readonly signal: AbortSignal;
  readonly onEvent: (event: WatchEvent) => void;
}

/** Runs one watch to its end. */
export async function runWatch(options: WatchOptions): Promise<WatchEnd> {
  const { transport, clock, resource, signal, onEvent } = options;
  const path = pathOf(resource, options.namespace);
  const request = `WATCH ${path}`;
  const state = { idle: false, opened: false };
  try {
    const stream = await transport.stream({
      path,
      query: {
        watch: true,
        resourceVersion: options.resourceVersion,
        allowWatchBookmarks: true,
        timeoutSeconds: options.serverTimeoutSeconds,
        ...(options.sendsInitialEvents && { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' }),
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
      },
      signal,
    });
    state.opened = true;
    const expire = (): void => {
      state.idle = true;
      stream.close();
    };
    let timer = clock.setTimer(options.inactivityMs, expire);
    const onActivity = (): void => {
      timer.cancel();
      timer = clock.setTimer(options.inactivityMs, expire);
    };
    try {
      for await (const line of splitLines(stream.chunks, onActivity)) {
        const event = parseLine(line, request);
        if (event instanceof KubeError) return endOf(event, true);
        onEvent(event);
      }
      return { kind: 'closed', idle: state.idle };
    } finally {
      timer.cancel();
      stream.close();
    }
  } catch (err) {
    if (signal.aborted) return { kind: 'stopped' };
    if (state.idle) return { kind: 'closed', idle: true };
    // A reset in mid-stream: everything up to the last whole line has been delivered.
    const cause = err instanceof Error ? err.message : String(err);
    return endOf(isKubeError(err) ? err : new KubeError('transport', request, cause, { cause: err }), state.opened);
  }
}

/** Without an answer, throttled or while the server starts, the version is as good as before; otherwise only a list tells. */
function endOf(error: KubeError, opened: boolean): WatchEnd {
  if (error.kind === 'expired') return { kind: 'expired' };
  const unanswered = error.kind === 'transport' || (error.kind === 'timeout' && error.status === undefined);
  const later = error.kind === 'tooManyRequests' || error.status === 503;
  return { kind: 'failed', error, relist: !unanswered && !later, opened };
}

const eventTypes: Readonly<Record<string, WatchEvent['type'] | undefined>> = {
  ADDED: 'added',
  MODIFIED: 'modified',
  DELETED: 'deleted',
  BOOKMARK: 'bookmark',
};

function parseLine(line: string, request: string): WatchEvent | KubeError {
  let value: { type?: string; object?: unknown };
  try {
    value = JSON.parse(line) as typeof value;
  } catch (cause) {
    return new KubeError('transport', request, `a line is not JSON: ${line.slice(0, 100)}`, { cause });
  }
  if (value.type === 'ERROR') return errorFromStatus(request, value.object ?? {});
  const type = value.type === undefined ? undefined : eventTypes[value.type];
  const object = value.object as RawItem | undefined;
  const resourceVersion = object?.metadata.resourceVersion;
  if (type === undefined || object === undefined || resourceVersion === undefined) {
    return new KubeError('transport', request, `a line is not an event: ${line.slice(0, 100)}`);
  }
  if (type !== 'bookmark') return { type, object, resourceVersion };
  const { annotations = {} } = object.metadata;
  return { type, resourceVersion, endsInitialEvents: annotations['k8s.io/initial-events-end'] === 'true' };
}
