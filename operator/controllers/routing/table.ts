/**
 * The routing facts of every pool, computed once per namespace and read by the pools' own reconciler. They live in
 * memory only: the ConfigMaps are the lasting form, and a restart computes them anew before any pool is touched.
 */

/** What routing means for one pool. */
export interface PoolRouting {
  /** The ConfigMap with the routing table of the pool's broker. */
  readonly routesConfigMap: string;
  /** Sentences about claims that other pools make as well; empty when there is none. */
  readonly conflicts: readonly string[];
  /** Why a ConfigMap that the pool needs could not be written, in a sentence; absent when all is there. */
  readonly problem?: string;
}

/** Facts by pool key. */
export interface RoutingTable {
  /** Undefined until the pool's namespace was computed, or when its broker is not known. */
  get(poolKey: string): PoolRouting | undefined;
  /** Replaces the facts of a namespace; returns the keys of the pools whose facts changed. */
  replace(namespace: string, facts: ReadonlyMap<string, PoolRouting>): string[];
}

/** Builds an empty table. */
export function createRoutingTable(): RoutingTable {
  const byNamespace = new Map<string, ReadonlyMap<string, PoolRouting>>();
  return {
    get: (poolKey) => byNamespace.get(poolKey.slice(0, poolKey.indexOf('/')))?.get(poolKey),
    replace(namespace, facts) {
      const before = byNamespace.get(namespace) ?? new Map<string, PoolRouting>();
      if (facts.size === 0) byNamespace.delete(namespace);
      else byNamespace.set(namespace, facts);
      const keys = new Set([...before.keys(), ...facts.keys()]);
      return [...keys].filter((key) => !same(before.get(key), facts.get(key)));
    },
  };
}

function same(a: PoolRouting | undefined, b: PoolRouting | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
