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
  /** The change of size that no status has told yet: whatever fails after it, it is told by the next one. */
  scaled?: Scaled | undefined;
  /** The status written last and when (monotonic ms), so that an unchanged one is not written again. */
  status?: { readonly value: WorkerPoolStatus; readonly writtenMs: number };
  /** Generation of the Deployment after our own last write: another one means that somebody else changed it. */
  deploymentGeneration?: number;
  /** Problems that were reported by an event already, as `type/reason`. */
  reported: ReadonlySet<string>;
}

/** The memories of all pools, by key. */
export interface PoolMemories {
  of(poolKey: string): PoolMemory;
  forget(poolKey: string): void;
}

/** Builds an empty store. */
export function createPoolMemories(): PoolMemories {
  const memories = new Map<string, PoolMemory>();
  return {
    of(poolKey) {
      let memory = memories.get(poolKey);
      if (memory === undefined) {
        memory = { signals: {}, reported: new Set() };
        memories.set(poolKey, memory);
      }
      return memory;
    },
    forget: (poolKey) => void memories.delete(poolKey),
  };
}
