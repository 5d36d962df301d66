/** The conditions that exist only while something is dangerous: declared so, or said by the workers. Pure. */
import type { WantedCondition } from '../api/v1alpha1/conditions.ts';
import { visibilityTimeoutSeconds } from '../api/v1alpha1/defaults.ts';
import type { WorkerPoolSpec } from '../api/v1alpha1/workerpool.ts';
import type { StatusFacts } from './facts.ts';

/** The hazards of a pool; none is the good case. */
export function findHazards(facts: StatusFacts): WantedCondition[] {
  const { spec } = facts.pool;
  return [prefetchHazard(spec), visibilityHazard(spec), workerHazard(facts)].filter((hazard) => hazard !== undefined);
}

function prefetchHazard({ prefetch }: WorkerPoolSpec): WantedCondition | undefined {
  if (prefetch.policy !== 'Unlimited') return undefined;
  return {
    type: 'PrefetchHazard',
    status: 'True',
    reason: 'Unlimited',
    message:
      'one worker takes every task there is, so that other pods stay idle and short tasks wait behind long ones; write prefetch.policy: Fair, or Multiplier with a small multiplier',
  };
}

/**
 * A message is `unacked` from delivery to acknowledgement, and Redis hands it out again when that lasts longer than the
 * visibility timeout.
 * - Late: it is acknowledged after its task, so a task longer than the timeout runs twice, whatever the policy.
 * - Early: it is acknowledged when its task starts, so what it waits in the worker counts: with `Fair` that is no time,
 *   otherwise at least one longest task that runs before it.
 */
function visibilityHazard(spec: WorkerPoolSpec): WantedCondition | undefined {
  const timeoutSeconds = visibilityTimeoutSeconds(spec);
  const longestSeconds = spec.longestTaskSeconds;
  if (timeoutSeconds >= longestSeconds) return undefined;
  if (spec.ackMode === 'Early' && spec.prefetch.policy === 'Fair') return undefined;
  const timeout = `${timeoutSeconds} s${spec.broker.visibilityTimeoutSeconds === undefined ? ', the default of Celery' : ''}`;
  const what =
    spec.ackMode === 'Late'
      ? `a task that runs longer than the visibility timeout (${timeout}) is given to a second worker while the first one runs it`
      : `a message that waits in a worker longer than the visibility timeout (${timeout}) is given to a second worker and its task runs twice`;
  return {
    type: 'VisibilityHazard',
    status: 'True',
    reason: 'ShorterThanLongestTask',
    message: `${what}; write broker.visibilityTimeoutSeconds: ${longestSeconds} or more (longestTaskSeconds), here and for every other worker of that Redis database`,
  };
}

function workerHazard({ workerProblems, silentPods, pods }: StatusFacts): WantedCondition | undefined {
  const problems = [...new Set(workerProblems)].sort();
  // A worker that starts has not spoken yet, and one that ends speaks no more: neither is a hazard.
  const silent = silentPods.filter((pod) => pods.settled.has(pod)).sort();
  const shown = silent.slice(0, 3).join(', ');
  const silence =
    silent.length === 0
      ? []
      : [`nothing is heard from the worker of ${shown}${silent.length > 3 ? ` and ${silent.length - 3} more` : ''}`];
  const sentences = [...silence, ...problems];
  if (sentences.length === 0) return undefined;
  return {
    type: 'WorkerHazard',
    status: 'True',
    reason: silent.length > 0 ? 'Silent' : 'NotSupported',
    message: sentences.join('; '),
  };
}
