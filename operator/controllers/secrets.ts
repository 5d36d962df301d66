/**
 * Reads Secrets by name and remembers them for a while. There is no list and no watch, so that the operator needs only
 * `get`, and only for the names that pools refer to. A missing Secret or key is asked for again soon, so that a pool
 * mends by itself a few seconds after its Secret was made.
 */
import type { KubeClient } from '../kube/client.ts';
import { isKubeError } from '../kube/errors.ts';
import { resources, type RawSecret } from '../kube/types.ts';
import type { Clock } from '../runtime/clock.ts';

/** How long a value that was found is used without asking again. */
const foundForMs = 30_000;
/** How long "it is not there" is believed. */
const missingForMs = 2_000;

/** The value of one key, or why it cannot be had, in a sentence for the pool's status. */
export type SecretValue =
  | { readonly kind: 'ok'; readonly value: string }
  | {
      readonly kind: 'missing';
      readonly reason: 'SecretMissing' | 'SecretKeyMissing' | 'SecretForbidden';
      readonly message: string;
    };

/** The one way in which the operator reads Secrets. */
export interface SecretReader {
  /** The decoded value of a key. Throws what the API server's failure was when it could not be asked. */
  read(namespace: string, name: string, key: string, signal: AbortSignal): Promise<SecretValue>;
  /** What is remembered of a Secret is believed no longer than "it is not there": with its value nothing works. */
  doubt(namespace: string, name: string): void;
  /**
   * Reads a Secret anew. Tells whether it has changed, come or gone since it was read first, or since this was last told,
   * whoever read it meanwhile. Throws what the API server's failure was when it could not be asked.
   */
  refresh(namespace: string, name: string, signal: AbortSignal): Promise<boolean>;
}

type Entry = {
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly data: Promise<RawSecret | 'missing' | 'forbidden'>;
};

/** Builds the reader; reads that are under way at the same time share one request. */
export function createSecretReader(deps: { client: KubeClient; clock: Clock }): SecretReader {
  const entries = new Map<string, Entry>();
  /** What was read last: the version of each Secret, or why there is none. */
  const versions = new Map<string, string | undefined>();
  /** Those that were found to have changed, until that is told. */
  const changed = new Set<string>();

  const fetch = async (namespace: string, name: string): Promise<RawSecret | 'missing' | 'forbidden'> => {
    try {
      return await deps.client.get<RawSecret>(resources.secrets, namespace, name);
    } catch (err) {
      if (isKubeError(err, 'notFound')) return 'missing';
      if (isKubeError(err, 'forbidden')) return 'forbidden';
      throw err;
    }
  };

  const doubt = (namespace: string, name: string): void => {
    const id = `${namespace}/${name}`;
    const entry = entries.get(id);
    if (entry !== undefined) entries.set(id, { ...entry, untilMs: entry.sinceMs + missingForMs });
  };

  const loadAnew = (namespace: string, name: string): Entry['data'] => {
    const id = `${namespace}/${name}`;
    const nowMs = deps.clock.monotonicMs();
    const data = fetch(namespace, name);
    entries.set(id, { sinceMs: nowMs, untilMs: nowMs + foundForMs, data });
    data.then(
      (secret) => {
        const version = typeof secret === 'string' ? secret : secret.metadata.resourceVersion;
        if (versions.has(id) && versions.get(id) !== version) changed.add(id);
        versions.set(id, version);
        if (typeof secret === 'string') doubt(namespace, name);
      },
      () => entries.delete(id),
    );
    return data;
  };

  const load = (namespace: string, name: string): Entry['data'] => {
    const entry = entries.get(`${namespace}/${name}`);
    return entry !== undefined && entry.untilMs > deps.clock.monotonicMs() ? entry.data : loadAnew(namespace, name);
  };

  return {
    async read(namespace, name, key, signal) {
      signal.throwIfAborted();
      const secret = await unlessAborted(load(namespace, name), signal);
      if (secret === 'missing') {
        return {
          kind: 'missing',
          reason: 'SecretMissing',
          message: `Secret ${name} does not exist in namespace ${namespace}; create it with the key ${key}`,
        };
      }
      if (secret === 'forbidden') {
        return {
          kind: 'missing',
          reason: 'SecretForbidden',
          message: `the operator may not read Secret ${name} in namespace ${namespace}; its Role needs the verb get on secrets`,
        };
      }
      const encoded = secret.data?.[key];
      if (encoded === undefined) {
        doubt(namespace, name);
        const keys = Object.keys(secret.data ?? {}).join(', ');
        return {
          kind: 'missing',
          reason: 'SecretKeyMissing',
          message: `Secret ${name} has no key ${key}; it has: ${keys === '' ? 'none' : keys}`,
        };
      }
      return { kind: 'ok', value: Buffer.from(encoded, 'base64').toString('utf8').trim() };
    },
    doubt,
    async refresh(namespace, name, signal) {
      signal.throwIfAborted();
      await unlessAborted(loadAnew(namespace, name), signal);
      return changed.delete(`${namespace}/${name}`);
    },
  };
}

/**
 * Waits for a request that several readers share: it cannot be ended by the signal of one of them, so that one leaves.
 * Without this a frozen API server would hold a reconcile beyond the Lease.
 */
async function unlessAborted<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  let leave: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    signal.addEventListener('abort', leave, { once: true });
  });
  try {
    return await Promise.race([shared, aborted]);
  } finally {
    if (leave !== undefined) signal.removeEventListener('abort', leave);
  }
}
