/**
 * Reading one's own writes. A controller writes, the watch brings the write back a moment later, and a reconcile in
 * between would decide on the world before it: scale twice, or undo what it just did. After each write the version is
 * noted; until the cache has reached it, the key is not fresh.
 */
import type { Clock } from './clock.ts';

/** What identifies a kind, without depending on the Kubernetes client. */
export interface FreshResource {
  readonly group: string;
  readonly plural: string;
}

/** A cache that says how far it is. */
export interface VersionedCache {
  readonly resource: FreshResource;
  /** The version up to which it is complete; undefined before the first list. */
  resourceVersion(): string | undefined;
}

/** Remembers writes. */
export interface Freshness {
  /** Notes a write for a key, with the version that the API server answered. */
  wrote(key: string, resource: FreshResource, resourceVersion: string | undefined): void;
  /** Whether these caches show all that was written for the key. True after the time limit in any case. */
  isFresh(key: string, caches: readonly VersionedCache[]): boolean;
  /** The object is gone. */
  forget(key: string): void;
}

interface Write {
  readonly version: string;
  readonly atMs: number;
}

/**
 * Builds an empty memory.
 * @param options.timeoutMs a write that no cache has shown after this long is let go: its object may be outside the
 *   cache's selector, and a controller that waits for ever is worse than one that decides on old facts once
 */
export function createFreshness(options: { readonly clock: Clock; readonly timeoutMs: number }): Freshness {
  const { clock, timeoutMs } = options;
  const writes = new Map<string, Map<string, Write>>();

  return {
    wrote: (key, resource, version) => {
      if (version === undefined) return;
      const ofKey = writes.get(key) ?? new Map<string, Write>();
      writes.set(key, ofKey);
      const id = idOf(resource);
      const before = ofKey.get(id);
      // An apply that changed nothing answers with an older version than the write before it.
      if (before !== undefined && isAtLeast(before.version, version)) return;
      ofKey.set(id, { version, atMs: clock.monotonicMs() });
    },
    isFresh: (key, caches) => {
      const ofKey = writes.get(key);
      if (ofKey === undefined) return true;
      for (const [id, write] of ofKey) {
        const cache = caches.find((each) => idOf(each.resource) === id);
        if (cache === undefined) continue;
        const reached = cache.resourceVersion();
        const seen = reached !== undefined && isAtLeast(reached, write.version);
        if (seen || clock.monotonicMs() - write.atMs >= timeoutMs) ofKey.delete(id);
        else return false;
      }
      if (ofKey.size === 0) writes.delete(key);
      return true;
    },
    forget: (key) => void writes.delete(key),
  };
}

/**
 * Whether version `a` is not older than `b`, both of one kind. Versions are comparable integers by the API's own
 * promise since 1.35 and in fact with etcd before; anything else counts as reached, rather than never.
 */
export function isAtLeast(a: string, b: string): boolean {
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return true;
  return a.length === b.length ? a >= b : a.length > b.length;
}

function idOf(resource: FreshResource): string {
  return `${resource.group}/${resource.plural}`;
}
