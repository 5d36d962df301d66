/** The conditions that every pool has: Ready, BrokerReachable, Scaling, Routed. Pure. */
import type { ConditionReason, WantedCondition } from '../api/v1alpha1/conditions.ts';
import { tasksPerReplica } from '../api/v1alpha1/defaults.ts';
import type { Known } from '../signals/known.ts';
import type { StatusFacts } from './facts.ts';

/** The four conditions, in the order in which people read them. */
export function describePool(facts: StatusFacts): WantedCondition[] {
  return [describeReady(facts), describeBroker(facts), describeScaling(facts), describeRouting(facts)];
}

/** The first thing that is wrong, in the order in which a user can mend it; else how the pods are coming. */
function describeReady(facts: StatusFacts): WantedCondition {
  const { pool, broker, deployment, deploymentProblem, pods, decision } = facts;
  if (broker.kind === 'problem') return notReady(broker.reason, broker.message);
  if (deploymentProblem !== undefined) return notReady(deploymentProblem.reason, deploymentProblem.message);
  const problem = pods.problem;
  // A worker that crashes while its broker is down crashes because of it.
  const brokerFailed = broker.state.kind === 'failed';
  // Pods that find no room are no reason to call a pool that works not ready.
  const isShort = problem?.reason === 'Unschedulable' && pods.ready > 0;
  if (problem !== undefined && !isShort && !(brokerFailed && problem.reason === 'WorkerCrashed')) {
    return notReady(problem.reason, problem.message);
  }
  if (broker.state.kind === 'failed') return notReady('BrokerUnavailable', broker.state.message);
  if (deployment?.replicaFailure !== undefined) return notReady('PodsRefused', deployment.replicaFailure);
  if (deployment === undefined) return notReady('Starting', 'the Deployment is not there yet');
  const isActedOn = pool.spec.scaling.mode === 'Auto' || pool.spec.replicas !== undefined;
  const desired = isActedOn && decision !== undefined ? decision.replicas : deployment.desiredReplicas;
  if (desired === 0) return ready('ScaledToZero', 'no pod is needed');
  if (pods.ready === 0) return notReady('Starting', `0 of ${desired} pods ready`);
  const shortage = isShort ? `; ${problem.message}` : '';
  return ready('Running', `${pods.ready} of ${desired} pods ready${shortage}`);
}

function ready(reason: ConditionReason<'Ready'>, message: string): WantedCondition {
  return { type: 'Ready', status: 'True', reason, message };
}

function notReady(reason: ConditionReason<'Ready'>, message: string): WantedCondition {
  return { type: 'Ready', status: 'False', reason, message };
}

function describeBroker({ broker }: StatusFacts): WantedCondition {
  const type = 'BrokerReachable';
  if (broker.kind === 'problem') return { type, status: 'False', reason: broker.reason, message: broker.message };
  const { state, display } = broker;
  switch (state.kind) {
    case 'connecting':
      return { type, status: 'Unknown', reason: 'Connecting', message: `connecting to ${display}` };
    case 'failed':
      return { type, status: 'False', reason: state.reason, message: state.message };
    case 'ok': {
      const how =
        state.tracking === 'push'
          ? 'it announces changes'
          : `every queue is read every few seconds${state.trackingWhy === undefined ? '' : ` (${state.trackingWhy})`}`;
      return { type, status: 'True', reason: 'Connected', message: `connected to ${display}; ${how}` };
    }
  }
}

function describeScaling(facts: StatusFacts): WantedCondition {
  const { pool, broker, decision, tasks } = facts;
  const { replicas, scaling } = pool.spec;
  const type = 'Scaling';
  if (replicas !== undefined) {
    const message = `spec.replicas fixes the size at ${replicas}; remove it to let Muster set the size`;
    return { type, status: 'False', reason: 'Fixed', message };
  }
  if (decision === undefined || (broker.kind === 'ok' && broker.state.kind === 'connecting')) {
    return { type, status: 'Unknown', reason: 'Pending', message: 'the queues were not read yet' };
  }
  const missing = missingSignal(broker, tasks.waiting);
  if (missing !== undefined) {
    return { type, status: 'False', reason: 'SignalUnknown', message: `the size does not shrink: ${missing}` };
  }
  if (decision.reason === 'SignalUnknown') {
    return { type, status: 'False', reason: 'SignalUnknown', message: decision.message };
  }
  if (scaling.mode === 'Recommend') {
    const message = `scaling.mode is Recommend; Muster would run ${decision.replicas} pods and changes nothing`;
    return { type, status: 'False', reason: 'Recommend', message };
  }
  const isAtMaximum = decision.limitedBy === 'MaxReplicas';
  // A lowered maximum takes no pod from under a task: "0 to 5 pods" would be untrue of the 20 that run until then.
  if (decision.replicas > scaling.maxReplicas) {
    const load = isAtMaximum ? 'the load asks for more than that, and ' : '';
    const message = `${decision.replicas} pods, above scaling.maxReplicas (${scaling.maxReplicas}); ${load}the pool shrinks when it is empty`;
    return { type, status: 'True', reason: isAtMaximum ? 'AtMaximum' : 'Auto', message };
  }
  if (isAtMaximum) {
    const message = `the load asks for more pods than scaling.maxReplicas (${scaling.maxReplicas})`;
    return { type, status: 'True', reason: 'AtMaximum', message };
  }
  const perPod = tasksPerReplica(pool.spec);
  const message = `${scaling.minReplicas} to ${scaling.maxReplicas} pods, one for every ${perPod === 1 ? 'task' : `${perPod} tasks`}`;
  return { type, status: 'True', reason: 'Auto', message };
}

/** Why the queues are not known. That a worker is silent is not counted: while one starts this is so by nature. */
function missingSignal(broker: StatusFacts['broker'], waiting: Known<number>): string | undefined {
  if (broker.kind === 'problem') return broker.message;
  if (broker.state.kind === 'failed') return broker.state.message;
  return waiting.kind === 'unknown' ? waiting.why : undefined;
}

function describeRouting({ pool, routing }: StatusFacts): WantedCondition {
  const type = 'Routed';
  if (routing === undefined) {
    return { type, status: 'Unknown', reason: 'Pending', message: 'the routing table is not made yet' };
  }
  if (routing.problem !== undefined) return { type, status: 'False', reason: 'Forbidden', message: routing.problem };
  if (routing.conflicts.length > 0) {
    return { type, status: 'False', reason: 'Conflict', message: routing.conflicts.join('; ') };
  }
  const patterns = pool.spec.queues.reduce((sum, queue) => sum + (queue.tasks?.length ?? 0), 0);
  const message =
    patterns === 0
      ? 'no queue has tasks: producers name the queue themselves'
      : `${patterns === 1 ? '1 pattern' : `${patterns} patterns`} in ConfigMap ${routing.routesConfigMap}, for producers to mount`;
  return { type, status: 'True', reason: 'Routed', message };
}
