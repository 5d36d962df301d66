/**
 * From what the API server returns to a complete pool, and the values that follow from others and therefore cannot be
 * defaults of a schema.
 */
import { z } from 'zod';
import { workerPoolSchema, type WorkerPool, type WorkerPoolSpec } from './workerpool.ts';

/** A pool, or the sentence that says why the object is none. */
export type ReadPool =
  { readonly kind: 'ok'; readonly pool: WorkerPool } | { readonly kind: 'invalid'; readonly message: string };

/**
 * Reads an object as the API server has it: fills in defaults and leaves out what Muster does not read (managedFields
 * and the like). An object can be invalid although the API server let it in: it was stored under an older definition.
 */
export function readWorkerPool(raw: unknown): ReadPool {
  const parsed = workerPoolSchema.safeParse(raw);
  if (parsed.success) return { kind: 'ok', pool: parsed.data };
  return { kind: 'invalid', message: z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' ') };
}

/** The prefetch multiplier of policy Multiplier when none is given, as in Celery. */
export const defaultMultiplier = 4;
/** The visibility timeout of Celery on Redis when nobody sets one. */
export const defaultVisibilityTimeoutSeconds = 3600;
/** The priority steps of Celery on Redis when nobody sets them. */
export const defaultPrioritySteps: readonly number[] = [0, 3, 6, 9];
/** What a pod gets, beyond the longest task, to hand back what it holds and end. */
export const shutdownMarginSeconds = 30;

/** Messages that a worker may hold per slot; undefined when the policy is not Multiplier. */
export function prefetchMultiplier(spec: WorkerPoolSpec): number | undefined {
  return spec.prefetch.policy === 'Multiplier' ? (spec.prefetch.multiplier ?? defaultMultiplier) : undefined;
}

/** Outstanding tasks that one pod is meant for. */
export function tasksPerReplica(spec: WorkerPoolSpec): number {
  return spec.scaling.tasksPerReplica ?? spec.concurrency;
}

/** After how long the broker gives an unacknowledged message to another worker, as far as the pool says. */
export function visibilityTimeoutSeconds(spec: WorkerPoolSpec): number {
  return spec.broker.visibilityTimeoutSeconds ?? defaultVisibilityTimeoutSeconds;
}

/** The names of the queues, in the order of the pool. */
export function queueNames(spec: WorkerPoolSpec): string[] {
  return spec.queues.map((queue) => queue.name);
}
