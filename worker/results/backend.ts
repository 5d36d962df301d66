/**
 * Where results are stored, as Celery stores them in Redis: one key per task, set and published in one step.
 * Source: celery/backends/redis.py (`_set`), celery/backends/base.py (`_get_result_meta`).
 */
import type { Command } from '../../operator/broker/connection.ts';
import type { ResultKeys } from '../protocol/keys.ts';
import { buildResultMeta, type ResultMeta } from '../protocol/result.ts';
import { scripts } from '../transport/script.ts';

/** Stores what became of tasks. */
export interface ResultBackend {
  /**
   * Stores a state. `undefined` when it travels in the same round trip as the acknowledgement that follows it; else a
   * promise that resolves when it is stored. Throws ProtocolError for a result that JSON cannot hold.
   */
  store(meta: ResultMeta): Promise<void> | undefined;
  /** Whether storing takes a round trip of its own, to a Redis that may be gone while the broker is there. */
  readonly takesRoundTrip: boolean;
  /** Runs another command of the backend; undefined as for `store`. */
  send(command: Command): Promise<void> | undefined;
  /** Stores REVOKED for a task that waits in some queue, unless a worker has begun or ended it. */
  revoke(meta: ResultMeta): void;
}

/** The command that stores a state. */
export function storeCommand(keys: ResultKeys, meta: ResultMeta, keepSeconds: number): Command {
  return ['evalsha', scripts.store.sha, 1, keys.taskMeta(meta.taskId), keepSeconds, buildResultMeta(meta)];
}

/** Results in the Redis of the broker: stored in the round trip of the acknowledgement, before it. */
export function createSharedBackend(
  keys: ResultKeys,
  keepSeconds: number,
  send: (command: Command) => void,
): ResultBackend {
  return {
    takesRoundTrip: false,
    store(meta) {
      send(storeCommand(keys, meta, keepSeconds));
      return undefined;
    },
    send(command) {
      send(command);
      return undefined;
    },
    revoke(meta) {
      send(['evalsha', scripts.revoke.sha, 1, keys.taskMeta(meta.taskId), keepSeconds, buildResultMeta(meta)]);
    },
  };
}

/** No results. */
export const noBackend: ResultBackend = {
  takesRoundTrip: false,
  store: () => undefined,
  send: () => undefined,
  revoke: () => undefined,
};
