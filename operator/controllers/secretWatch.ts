/**
 * Reads the Secrets of all pools again now and then, each once, and has only those pools looked at whose Secret has changed:
 * with a thousand pools, looking at each of them to find that nothing changed was most of the work of an idle operator.
 */
import type { WorkerPool } from '../api/v1alpha1/workerpool.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { Runnable } from '../runtime/manager.ts';
import { secretNames } from './endpoints.ts';
import type { SecretReader } from './secrets.ts';

/** What the watch needs. */
export interface SecretWatchDeps {
  /** All pools now. */
  readonly pools: () => readonly WorkerPool[];
  readonly secrets: Pick<SecretReader, 'refresh'>;
  /** Has a pool looked at, by `namespace/name`, and the routing of its namespace: another URL may be another broker. */
  readonly enqueue: (poolKey: string, namespace: string) => void;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long after one round the next one begins (ms). */
  readonly everyMs: number;
}

/** Builds it. */
export function createSecretWatch(deps: SecretWatchDeps): Runnable {
  const round = async (signal: AbortSignal): Promise<void> => {
    for (const { namespace, name, poolKeys } of usedSecrets(deps.pools())) {
      if (signal.aborted) return;
      try {
        // One after the other: nobody waits for it, and the API server is not to be hit by all of them at once.
        if (await deps.secrets.refresh(namespace, name, signal))
          for (const key of poolKeys) deps.enqueue(key, namespace);
      } catch (err) {
        deps.log.debug('a Secret could not be read again', { namespace, secret: name, err });
      }
    }
  };
  return {
    name: 'secret watch',
    async run(signal) {
      for (;;) {
        await deps.clock.sleep(deps.everyMs, signal);
        if (signal.aborted) return;
        await round(signal);
      }
    },
  };
}

interface UsedSecret {
  readonly namespace: string;
  readonly name: string;
  readonly poolKeys: string[];
}

function usedSecrets(pools: readonly WorkerPool[]): Iterable<UsedSecret> {
  const used = new Map<string, UsedSecret>();
  for (const pool of pools) {
    const { namespace } = pool.metadata;
    for (const name of secretNames(pool)) {
      const id = `${namespace}/${name}`;
      const secret = used.get(id) ?? { namespace, name, poolKeys: [] };
      used.set(id, secret);
      secret.poolKeys.push(`${namespace}/${pool.metadata.name}`);
    }
  }
  return used.values();
}
