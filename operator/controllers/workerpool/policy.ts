/** From the resource's words to the scaling law's. */
import type { WorkerPool } from '../../api/v1alpha1/workerpool.ts';
import type { ScalingPolicy } from '../../scaling/decide.ts';

/** The policy of a pool. One task a slot where `tasksPerReplica` is not given: then every waiting task has a slot. */
export function scalingPolicy({ spec }: WorkerPool): ScalingPolicy {
  return {
    ...(spec.replicas === undefined ? {} : { fixedReplicas: spec.replicas }),
    minReplicas: spec.scaling.minReplicas,
    maxReplicas: spec.scaling.maxReplicas,
    tasksPerReplica: spec.scaling.tasksPerReplica ?? spec.concurrency,
    idleMs: spec.scaling.idleSeconds * 1000,
  };
}
