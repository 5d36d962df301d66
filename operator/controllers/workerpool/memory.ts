/**
 * What the reconciler remembers of each pool between two looks. Everything here can be lost: after a restart it is
 * found again from the cluster and the broker, at the price of one more idle period before a pool shrinks.
 */
import type { WorkerPoolStatus } from '../../api/v1alpha1/workerpool.ts';
import type { Decision } from '../../scaling/decide.ts';
import type { SignalMemory, Signals } from '../../signals/signals.ts';

/** A change of size that the API server accepted, and what it was decided from. */
export interface Scaled {
  readonly from: number;
  readonly to: number;
  /** Wall clock, ms since the epoch. */
  readonly atMs: number;
  readonly decision: Decision;
  readonly signals: Signals;
}

/** One pool's memory. */
export interface PoolMemory {
  signals: SignalMemory;
  /** When this process began to look at the pool (monotonic ms). */
  sinceMs?: number;
  /** The change of size that no status has told yet: whatever fails after it, it is told by the next one. */
  scaled?: Scaled | undefined;
  /** The status written last and when (monotonic ms), so that an unchanged one is not written again. */
  status?: { readonly value: WorkerPoolStatus; readonly writtenMs: number };
  /**
   * Generation of the Deployment after our own last write, or as it was found first: another one means that somebody else
   * changed it.
   */
  deploymentGeneration?: number | undefined;
  /** The hash of the Deployment that the pool asks for, and of which version of it. */
  intent?: { readonly of: string; readonly hash: string };
  /** Problems that were reported by an event already, as `type/reason`; absent before the first look. */
  reported?: ReadonlySet<string>;
}

/** The memories of all pools, by key. */
export interface PoolMemories {
  /** The memory of this very pool: one that was deleted and made anew under its name starts without any. */
  of(poolKey: string, uid: string): PoolMemory;
  forget(poolKey: string): void;
  /** Forgets all: another replica of the operator has been at work meanwhile. */
  clear(): void;
}

/** Builds an empty store. */
export function createPoolMemories(): PoolMemories {
  const memories = new Map<string, { readonly uid: string; readonly memory: PoolMemory }>();
  return {
    of(poolKey, uid) {
      const known = memories.get(poolKey);
      if (known?.uid === uid) return known.memory;
      const memory: PoolMemory = { signals: {} };
      memories.set(poolKey, { uid, memory });
      return memory;
    },
    forget: (poolKey) => void memories.delete(poolKey),
    clear: () => memories.clear(),
  };
}
