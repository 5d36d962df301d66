/**
 * A cached, watched collection with change handlers. Handlers are told what changed after the cache holds it; one that
 * throws is logged and counted, and neither the other handlers nor the watch notice.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { KubeMetrics } from './metrics.ts';
import { createReflector, type Listing, type ReflectorLimits } from './reflector.ts';
import { createStore, type Change, type Indexers } from './store.ts';
import type { Transport } from './transport.ts';
import type { Named, Resource } from './types.ts';
import type { WatchScope } from './watch.ts';

/** What an informer is built from. */
export interface InformerOptions<T extends Named> extends WatchScope {
  /** The transport, or the client that has it. */
  readonly client: { readonly transport: Transport };
  /** Keeps of an object what Muster reads; must keep `metadata.name` and `metadata.namespace`. */
  readonly transform: (raw: unknown) => T;
  readonly indexers?: Indexers<T>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: KubeMetrics;
  readonly limits?: Partial<ReflectorLimits>;
  readonly random?: () => number;
  /** How the collection is read at first; `streamed` when absent. */
  readonly listing?: Listing;
}

/** A cached collection. Keys are `namespace/name`. */
export interface Informer<T> {
  readonly resource: Resource;
  /** Runs until the signal aborts; never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /** Whether the first list is in the cache. */
  hasSynced(): boolean;
  /** Resolves when the first list is in the cache and delivered; rejects when the signal aborts before. */
  synced(signal?: AbortSignal): Promise<void>;
  /** Adds a handler. It is told of every object in the cache first, as `added` with `initial`. Must be synchronous. */
  onChange(handler: (change: InformerChange<T>) => void): void;
  get(key: string): T | undefined;
  list(): readonly T[];
  byIndex(index: string, value: string): readonly T[];
  /** The version up to which the cache is complete. */
  resourceVersion(): string | undefined;
  /** Milliseconds since the server was last heard of; undefined before the first list. */
  silentMs(): number | undefined;
}

/** A change, and whether it is from the first list (then there is no hurry: users' edits go first). */
export type InformerChange<T> = Change<T> & { readonly initial: boolean };

/** Builds an informer. It does nothing until run. */
export function createInformer<T extends Named>(options: InformerOptions<T>): Informer<T> {
  const { resource, metrics } = options;
  const name = resource.plural;
  const log = options.log.child({ resource: name });
  const handlers: ((change: InformerChange<T>) => void)[] = [];
  metrics.cachedObjects.set({ name }, 0);
  metrics.handlerErrors.inc({ name }, 0);
  let isSynced = false;
  const waiting = new Set<() => void>();

  const complain = (message: string, key: string, err: unknown): void => {
    metrics.handlerErrors.inc({ name });
    log.error(message, { key, err });
  };
  const store = createStore<T>(options.transform, options.indexers, (key, err) =>
    complain('an object could not be read and is left out of the cache', key, err),
  );
  const tell = (handler: (change: InformerChange<T>) => void, change: InformerChange<T>): void => {
    try {
      handler(change);
    } catch (err) {
      complain('a change handler failed', change.key, err);
    }
  };
  const deliver = (changes: readonly Change<T>[]): void => {
    metrics.cachedObjects.set({ name }, store.size);
    for (const change of changes) {
      for (const handler of handlers) tell(handler, { ...change, initial: !isSynced });
    }
  };

  const reflector = createReflector({
    ...options,
    transport: options.client.transport,
    sink: {
      replace: () => {
        const replacement = store.replace();
        return {
          put: (item) => deliver(replacement.put(item)),
          end: () => {
            deliver(replacement.end());
            isSynced = true;
            for (const wake of [...waiting]) wake();
          },
        };
      },
      change: (type, object) => deliver(type === 'deleted' ? store.remove(object) : store.put(object)),
    },
  });

  return {
    resource,
    run: (signal) => reflector.run(signal),
    hasSynced: () => isSynced,
    synced: (signal) =>
      new Promise((resolve, reject) => {
        const abort = (): void => {
          waiting.delete(wake);
          reject(new Error(`${name} were not listed before the signal aborted`));
        };
        const wake = (): void => {
          waiting.delete(wake);
          signal?.removeEventListener('abort', abort);
          resolve();
        };
        if (isSynced) resolve();
        else if (signal?.aborted === true) abort();
        else {
          waiting.add(wake);
          signal?.addEventListener('abort', abort, { once: true });
        }
      }),
    onChange: (handler) => {
      handlers.push(handler);
      for (const [key, object] of store.entries()) tell(handler, { type: 'added', key, object, initial: true });
    },
    get: (key) => store.get(key),
    list: () => store.list(),
    byIndex: (index, value) => store.byIndex(index, value),
    resourceVersion: () => reflector.resourceVersion(),
    silentMs: () => reflector.silentMs(),
  };
}
