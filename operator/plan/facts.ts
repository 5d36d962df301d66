/**
 * The facts that a status is made from: plain data, gathered by the controller. What is not known is `unknown`, with
 * the reason; a reason must not hold a number that grows (an age), or every look would write the status anew.
 */
import type { LastDecision, WorkerPool, WorkerPoolStatus } from '../api/v1alpha1/workerpool.ts';
import type { BrokerState } from '../broker/reading.ts';
import type { Decision } from '../scaling/decide.ts';
import type { Known } from '../signals/known.ts';
import type { PodFacts } from './podFacts.ts';

/** Why the broker of a pool is not even tried. */
export type BrokerProblemReason = 'SecretMissing' | 'SecretKeyMissing' | 'SecretForbidden' | 'InvalidURL';

/** The broker of a pool: tried, or not known at all. */
export type BrokerFacts =
  | { readonly kind: 'problem'; readonly reason: BrokerProblemReason; readonly message: string }
  | {
      readonly kind: 'ok';
      /** Host, port and database, without credentials. */
      readonly display: string;
      readonly state: BrokerState;
    };

/** Why the Deployment of a pool is not what it should be. */
export interface DeploymentProblem {
  /** `NameTaken`: it belongs to something else. `TemplateInvalid`: refused. `Forbidden`: the operator may not write it. */
  readonly reason: 'NameTaken' | 'TemplateInvalid' | 'Forbidden';
  readonly message: string;
}

/** One queue of the pool. */
export interface QueueFacts {
  readonly name: string;
  readonly ready: Known<number>;
  readonly running: Known<number>;
  readonly held: Known<number>;
}

/** Everything that a status says. */
export interface StatusFacts {
  readonly pool: WorkerPool;
  /** The status written last, for the times of conditions that did not change; not always what the cache holds. */
  readonly previous: WorkerPoolStatus | undefined;
  readonly broker: BrokerFacts;
  /** The pool's Deployment: `desiredReplicas` is its `spec.replicas`, `replicas` its pods. */
  readonly deployment:
    | { readonly desiredReplicas: number; readonly replicas: number; readonly replicaFailure?: string | undefined }
    | undefined;
  readonly deploymentProblem: DeploymentProblem | undefined;
  readonly pods: PodFacts;
  /** Totals over all queues. */
  readonly tasks: { readonly waiting: Known<number>; readonly running: Known<number>; readonly held: Known<number> };
  readonly queues: readonly QueueFacts[];
  readonly decision: Decision | undefined;
  /** The decision that changed the size last; undefined keeps the one of `previous`. */
  readonly lastDecision: LastDecision | undefined;
  /** The routing facts of the pool; undefined until its table was made. */
  readonly routing:
    | {
        readonly routesConfigMap: string;
        readonly conflicts: readonly string[];
        /** Why a ConfigMap that the pool needs could not be written. */
        readonly problem?: string | undefined;
      }
    | undefined;
  /** What workers say that they cannot do. */
  readonly workerProblems: readonly string[];
  /** Pods whose worker runs and is not heard; those that start or end are sorted out by the facts about pods. */
  readonly silentPods: readonly string[];
}
