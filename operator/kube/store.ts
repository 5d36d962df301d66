/**
 * The cached records of one collection, by key and by index. Holds only what `transform` made of an object: a Pod of
 * 4 KB JSON becomes a few hundred bytes. Says what changed; delivering it is the informer's.
 */
import { keyOf, type Named } from './types.ts';
import type { RawItem } from './watch.ts';

/** A change of one record. `updated` has the record before it. */
export type Change<T> =
  | { readonly type: 'added'; readonly key: string; readonly object: T; readonly old?: undefined }
  | { readonly type: 'updated'; readonly key: string; readonly object: T; readonly old: T }
  | { readonly type: 'deleted'; readonly key: string; readonly object: T; readonly old?: undefined };

/** Names of an index to the values a record is found under. Pure; called once per record. */
export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>;

/** The records of a collection. */
export interface Store<T> {
  /** Begins to set the whole content. */
  replace(): Replacement<T>;
  /** Adds or updates one; usually one change, two when the object was deleted and made anew unseen, none when it is no news. */
  put(item: RawItem): Change<T>[];
  /** Removes one; the change has the last known record. */
  remove(item: RawItem): Change<T>[];
  get(key: string): T | undefined;
  list(): readonly T[];
  /** Records under a value of an index; an unknown index is a programming error and throws. */
  byIndex(index: string, value: string): readonly T[];
  /** Key and record of all. */
  entries(): Iterable<[string, T]>;
  readonly size: number;
}

/** A whole content on its way, object by object, so that there need not be all of them in memory as they came. */
export interface Replacement<T> {
  /** As `put` of the store. */
  put(item: RawItem): Change<T>[];
  /** That was all: removes what was not put. */
  end(): Change<T>[];
}

interface Entry<T> {
  readonly object: T;
  readonly version: string | undefined;
  readonly uid: string | undefined;
}

/** Builds an empty store. `transform` must not keep a reference to the object that it is given. */
export function createStore<T extends Named>(
  transform: (raw: unknown) => T,
  indexers: Indexers<T> = {},
  onTransformError: (key: string, err: unknown) => void = () => undefined,
): Store<T> {
  const entries = new Map<string, Entry<T>>();
  const indexes = new Map(Object.keys(indexers).map((name) => [name, new Map<string, Set<string>>()]));
  let listed: readonly T[] | undefined;

  const eachIndexed = (object: T, visit: (index: Map<string, Set<string>>, value: string) => void): void => {
    for (const [name, valuesOf] of Object.entries(indexers)) {
      const index = indexes.get(name);
      if (index !== undefined) for (const value of valuesOf(object)) visit(index, value);
    }
  };
  const index = (key: string, object: T): void =>
    eachIndexed(object, (values, value) => {
      const keys = values.get(value);
      if (keys === undefined) values.set(value, new Set([key]));
      else keys.add(key);
    });
  const unindex = (key: string, object: T): void =>
    eachIndexed(object, (values, value) => {
      const keys = values.get(value);
      keys?.delete(key);
      if (keys?.size === 0) values.delete(value); // Values that come and go (pod names) must not pile up.
    });

  const drop = (key: string, entry: Entry<T>): Change<T> => {
    entries.delete(key);
    unindex(key, entry.object);
    listed = undefined;
    return { type: 'deleted', key, object: entry.object };
  };

  const put = (item: RawItem): Change<T>[] => {
    const key = keyOf(item.metadata);
    const before = entries.get(key);
    const { resourceVersion: version, uid } = item.metadata;
    if (before !== undefined && version !== undefined && before.version === version) return [];
    let object: T;
    try {
      object = transform(item);
    } catch (err) {
      onTransformError(key, err); // The old record stays: half a cache is worse than one stale record.
      return [];
    }
    const changes: Change<T>[] = [];
    const recreated = before !== undefined && before.uid !== uid;
    if (recreated) changes.push(drop(key, before));
    else if (before !== undefined) unindex(key, before.object);
    entries.set(key, { object, version, uid });
    index(key, object);
    listed = undefined;
    changes.push(
      before === undefined || recreated
        ? { type: 'added', key, object }
        : { type: 'updated', key, object, old: before.object },
    );
    return changes;
  };

  return {
    put,
    remove: (item) => {
      const key = keyOf(item.metadata);
      const entry = entries.get(key);
      return entry === undefined ? [] : [drop(key, entry)];
    },
    replace: () => {
      const present = new Set<string>();
      return {
        put: (item) => {
          present.add(keyOf(item.metadata));
          return put(item);
        },
        end: () => [...entries].flatMap(([key, entry]) => (present.has(key) ? [] : [drop(key, entry)])),
      };
    },
    get: (key) => entries.get(key)?.object,
    list: () => (listed ??= [...entries.values()].map((entry) => entry.object)),
    entries: () => [...entries].map(([key, entry]): [string, T] => [key, entry.object]),
    byIndex: (name, value) => {
      const values = indexes.get(name);
      if (values === undefined) throw new Error(`the store has no index "${name}"`);
      return [...(values.get(value) ?? [])].flatMap((key) => entries.get(key)?.object ?? []);
    },
    get size() {
      return entries.size;
    },
  };
}
