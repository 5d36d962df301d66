import { expect } from 'chai';
import { statusSchema } from '../../../operator/api/v1alpha1/status.ts';
import type { Condition, WorkerPoolStatus } from '../../../operator/api/v1alpha1/workerpool.ts';
import type { StatusFacts } from '../../../operator/plan/facts.ts';
import type { PodFacts } from '../../../operator/plan/podFacts.ts';
import { buildStatus } from '../../../operator/plan/status.ts';
import { known, unknown } from '../../../operator/signals/known.ts';
import { makePool } from '../../support/builders.ts';
import { expectGolden } from './golden.ts';

const nowMs = Date.UTC(2026, 0, 1);
const pods = (ready: number, parts: Partial<PodFacts> = {}): PodFacts => ({
  ready,
  starting: 0,
  terminating: 0,
  workerRunning: new Map(),
  settled: new Set(),
  ...parts,
});
const crash = { reason: 'WorkerCrashed', pod: 'a-1', message: 'ended with exit code 2: no module' } as const;
const shortage = { reason: 'Unschedulable', pod: 'a-2', message: 'pod a-2 cannot be placed on a node: full' } as const;

/** A pool that is well: two pods, nothing to do. */
const well: StatusFacts = {
  pool: makePool('a').queue('x', 'x.*', 'y').concurrency(4).min(2).obj(),
  previous: undefined,
  broker: { kind: 'ok', display: 'redis:6379/0', state: { kind: 'ok', tracking: 'push' } },
  deployment: { desiredReplicas: 2, replicas: 2 },
  deploymentProblem: undefined,
  pods: pods(2),
  tasks: { waiting: known(0), running: known(0), held: known(0) },
  queues: [{ name: 'x', ready: known(0), running: known(0), held: known(0) }],
  decision: { replicas: 2, reason: 'Steady', message: '0 tasks outstanding at 4 per pod' },
  lastDecision: undefined,
  routing: { routesConfigMap: 'muster-routes-0123abcd', conflicts: [] },
  workerProblems: [],
  silentPods: [],
};
const failed = {
  kind: 'ok',
  display: 'redis:6379/0',
  state: { kind: 'failed', reason: 'Unreachable', message: 'nothing answers' },
} as const;

function conditionOf(type: string, facts: Partial<StatusFacts>): Condition | undefined {
  return buildStatus({ ...well, ...facts }, nowMs).conditions?.find((condition) => condition.type === type);
}

/** `status/reason: message`, or undefined. */
function wordsOf(type: string, facts: Partial<StatusFacts>): string | undefined {
  const condition = conditionOf(type, facts);
  return condition === undefined ? undefined : `${condition.status}/${condition.reason}: ${condition.message}`;
}

function itSays(type: string, rows: Record<string, { facts: Partial<StatusFacts>; want: string | undefined }>): void {
  for (const [name, { facts, want }] of Object.entries(rows)) {
    it(name, () => {
      expect(wordsOf(type, facts)).to.equal(want);
    });
  }
}

describe('buildStatus', () => {
  it('gives status-well.yaml', () => {
    expectGolden('status-well', buildStatus(well, nowMs));
  });

  it('is the same for the same facts at another time, so that nothing is written', () => {
    const first = buildStatus(well, nowMs);
    expect(buildStatus({ ...well, previous: first }, nowMs + 3_600_000)).to.deep.equal(first);
  });

  it('leaves out what is not known, and never says 0 instead', () => {
    const missing = unknown('not read yet');
    const status = buildStatus(
      {
        ...well,
        tasks: { waiting: missing, running: missing, held: missing },
        queues: [{ name: 'x', ready: known(3), running: missing, held: missing }],
        decision: undefined,
      },
      nowMs,
    );
    expect(status).to.not.have.any.keys('tasks', 'desiredReplicas', 'lastDecision');
    expect(status.queues).to.deep.equal([{ name: 'x', ready: 3 }]);
  });

  it('keeps the last decision until there is a newer one', () => {
    const lastDecision = { time: '2026-01-01T00:00:00Z', from: 0, to: 2, reason: 'Backlog', inputs: {} };
    const first = buildStatus({ ...well, lastDecision }, nowMs);
    expect(buildStatus({ ...well, previous: first }, nowMs).lastDecision).to.deep.equal(lastDecision);
  });

  it('moves the time of a condition only when its status changes', () => {
    const first = buildStatus(well, nowMs);
    const second = buildStatus({ ...well, previous: first, broker: failed }, nowMs + 60_000);
    const times = Object.fromEntries(
      (second.conditions ?? []).map(({ type, lastTransitionTime }) => [type, lastTransitionTime]),
    );
    expect(times).to.deep.equal({
      Ready: '2026-01-01T00:01:00Z',
      BrokerReachable: '2026-01-01T00:01:00Z',
      Scaling: '2026-01-01T00:01:00Z',
      Routed: '2026-01-01T00:00:00Z',
    });
  });

  it('fits the schema, whatever it is told', () => {
    const long = 'x'.repeat(10_000);
    const status: WorkerPoolStatus = buildStatus(
      {
        ...well,
        deploymentProblem: { reason: 'TemplateInvalid', message: long },
        lastDecision: { time: '2026-01-01T00:00:00Z', from: 0, to: 2, reason: 'Backlog', message: long, inputs: {} },
        routing: { routesConfigMap: 'r', conflicts: Array.from({ length: 100 }, () => long) },
        workerProblems: [long],
      },
      nowMs,
    );
    expect(statusSchema.safeParse(status).error).to.equal(undefined);
  });
});

describe('the condition Ready', () => {
  itSays('Ready', {
    'is true while pods are ready': { facts: {}, want: 'True/Running: 2 of 2 pods ready' },
    'is true while a part of the pods is ready': { facts: { pods: pods(1) }, want: 'True/Running: 1 of 2 pods ready' },
    'is true when no pod is needed': {
      facts: { pods: pods(0), decision: { replicas: 0, reason: 'Steady', message: '' } },
      want: 'True/ScaledToZero: no pod is needed',
    },
    'is false while the first pod starts': { facts: { pods: pods(0) }, want: 'False/Starting: 0 of 2 pods ready' },
    'is false before there is a Deployment': {
      facts: { deployment: undefined, pods: pods(0) },
      want: 'False/Starting: the Deployment is not there yet',
    },
    'counts against the Deployment when the decision is a recommendation': {
      facts: {
        pool: makePool().scaling({ mode: 'Recommend' }).obj(),
        decision: { replicas: 9, reason: 'Backlog', message: '' },
      },
      want: 'True/Running: 2 of 2 pods ready',
    },
    'names a missing Secret before everything else': {
      facts: {
        broker: { kind: 'problem', reason: 'SecretMissing', message: 'Secret redis does not exist' },
        pods: pods(0, { problem: crash }),
      },
      want: 'False/SecretMissing: Secret redis does not exist',
    },
    'names a Deployment of somebody else': {
      facts: { deploymentProblem: { reason: 'NameTaken', message: 'Deployment a is not of this pool' } },
      want: 'False/NameTaken: Deployment a is not of this pool',
    },
    'has the last words of a worker that crashes': {
      facts: { pods: pods(1, { problem: crash }) },
      want: 'False/WorkerCrashed: ended with exit code 2: no module',
    },
    'names the broker as the cause of a crash while it is down': {
      facts: { broker: failed, pods: pods(0, { problem: crash }) },
      want: 'False/BrokerUnavailable: nothing answers',
    },
    'names an image that cannot be pulled also while the broker is down': {
      facts: { broker: failed, pods: pods(0, { problem: { ...crash, reason: 'ImagePullFailed' } }) },
      want: 'False/ImagePullFailed: ended with exit code 2: no module',
    },
    'is false when no pod finds room': {
      facts: { pods: pods(0, { problem: shortage }) },
      want: 'False/Unschedulable: pod a-2 cannot be placed on a node: full',
    },
    'is true when some pods find room, and says that others do not': {
      facts: { pods: pods(1, { problem: shortage }) },
      want: 'True/Running: 1 of 2 pods ready; pod a-2 cannot be placed on a node: full',
    },
    'says that pods are refused': {
      facts: { deployment: { desiredReplicas: 2, replicas: 0, replicaFailure: 'exceeded quota' }, pods: pods(0) },
      want: 'False/PodsRefused: exceeded quota',
    },
  });
});

describe('the condition BrokerReachable', () => {
  const state = (given: Extract<StatusFacts['broker'], { kind: 'ok' }>['state']): Partial<StatusFacts> => ({
    broker: { kind: 'ok', display: 'redis:6379/0', state: given },
  });
  itSays('BrokerReachable', {
    'is true and says how changes are noticed': {
      facts: {},
      want: 'True/Connected: connected to redis:6379/0; it announces changes',
    },
    'says why the broker is polled': {
      facts: state({ kind: 'ok', tracking: 'poll', trackingWhy: 'CLIENT TRACKING is not allowed' }),
      want: 'True/Connected: connected to redis:6379/0; every queue is read every few seconds (CLIENT TRACKING is not allowed)',
    },
    'is unknown at first': {
      facts: state({ kind: 'connecting' }),
      want: 'Unknown/Connecting: connecting to redis:6379/0',
    },
    'names the cause of a failure': {
      facts: state({ kind: 'failed', reason: 'WrongPassword', message: 'the password is refused' }),
      want: 'False/WrongPassword: the password is refused',
    },
    'names a missing key of a Secret': {
      facts: { broker: { kind: 'problem', reason: 'SecretKeyMissing', message: 'Secret redis has no key url' } },
      want: 'False/SecretKeyMissing: Secret redis has no key url',
    },
  });
});

describe('the condition Scaling', () => {
  itSays('Scaling', {
    'is true and says the bounds': { facts: {}, want: 'True/Auto: 2 to 10 pods, one for every 4 tasks' },
    'says that the maximum is too small': {
      facts: { decision: { replicas: 10, reason: 'Backlog', message: '', limitedBy: 'MaxReplicas' } },
      want: 'True/AtMaximum: the load asks for more pods than scaling.maxReplicas (10)',
    },
    'says that the size is above a lowered maximum, and until when': {
      facts: { decision: { replicas: 20, reason: 'Busy', message: '', limitedBy: 'MaxReplicas' } },
      want: 'True/AtMaximum: 20 pods, above scaling.maxReplicas (10); the load asks for more than that, and the pool shrinks when it is empty',
    },
    'says so when the load asks for less than the maximum': {
      facts: { decision: { replicas: 20, reason: 'Busy', message: '' } },
      want: 'True/Auto: 20 pods, above scaling.maxReplicas (10); the pool shrinks when it is empty',
    },
    'is false at a fixed size': {
      facts: { pool: makePool().fixed(3).obj() },
      want: 'False/Fixed: spec.replicas fixes the size at 3; remove it to let Muster set the size',
    },
    'is false for a recommendation, with its number': {
      facts: {
        pool: makePool().scaling({ mode: 'Recommend' }).obj(),
        decision: { replicas: 7, reason: 'Backlog', message: '' },
      },
      want: 'False/Recommend: scaling.mode is Recommend; Muster would run 7 pods and changes nothing',
    },
    'is unknown until queues were read': {
      facts: { broker: { kind: 'ok', display: 'r', state: { kind: 'connecting' } } },
      want: 'Unknown/Pending: the queues were not read yet',
    },
    'names the broker that cannot be read': {
      facts: { broker: failed },
      want: 'False/SignalUnknown: the size does not shrink: nothing answers',
    },
    'names the queue that cannot be read': {
      facts: { tasks: { ...well.tasks, waiting: unknown('queue x: the key x is a hash') } },
      want: 'False/SignalUnknown: the size does not shrink: queue x: the key x is a hash',
    },
    'says why it does not shrink': {
      facts: { decision: { replicas: 2, reason: 'SignalUnknown', message: 'holding 2: cannot prove it' } },
      want: 'False/SignalUnknown: holding 2: cannot prove it',
    },
    'does not mind a worker that has not spoken yet': {
      facts: { tasks: { ...well.tasks, running: unknown('no heartbeat') } },
      want: 'True/Auto: 2 to 10 pods, one for every 4 tasks',
    },
  });
});

describe('the condition Routed', () => {
  const routing = (...conflicts: string[]): Partial<StatusFacts> => ({
    routing: { routesConfigMap: 'muster-routes-0', conflicts },
  });
  itSays('Routed', {
    'is true and names the ConfigMap for producers': {
      facts: routing(),
      want: 'True/Routed: 2 patterns in ConfigMap muster-routes-0, for producers to mount',
    },
    'is true without patterns': {
      facts: { ...routing(), pool: makePool().obj() },
      want: 'True/Routed: no queue has tasks: producers name the queue themselves',
    },
    'says that a ConfigMap is refused, before conflicts': {
      facts: { routing: { routesConfigMap: 'r', conflicts: ['one'], problem: 'ConfigMap r cannot be written: no' } },
      want: 'False/Forbidden: ConfigMap r cannot be written: no',
    },
    'has every conflict': { facts: routing('one', 'two'), want: 'False/Conflict: one; two' },
    'is unknown until the table is made': {
      facts: { routing: undefined },
      want: 'Unknown/Pending: the routing table is not made yet',
    },
  });
});

describe('hazards', () => {
  it('are none in a pool that is well', () => {
    expect(buildStatus(well, nowMs).conditions?.map(({ type }) => type)).to.deep.equal([
      'Ready',
      'BrokerReachable',
      'Scaling',
      'Routed',
    ]);
  });

  const visible = (seconds: number) => ({ url: 'redis://redis/0', visibilityTimeoutSeconds: seconds });
  const late = makePool().ack('Late').longest(7200);
  const early = makePool().ack('Early').longest(7200);
  const rows: Record<string, { pool: ReturnType<typeof makePool>; want: RegExp | undefined }> = {
    'is there when late tasks outlive the timeout': {
      pool: late.broker(visible(600)),
      want: /^True\/ShorterThanLongestTask: a task that runs longer than the visibility timeout \(600 s\) .* write broker\.visibilityTimeoutSeconds: 7200 or more/,
    },
    "is there for Celery's own timeout, which nobody wrote": { pool: late, want: /\(3600 s, the default of Celery\)/ },
    'is gone when the timeout is as long as the longest task': { pool: late.broker(visible(7200)), want: undefined },
    'is not there when early tasks are not held': { pool: early.broker(visible(600)), want: undefined },
    'is there when early tasks wait behind others in a worker': {
      pool: early.broker(visible(600)).prefetch('Multiplier', 1),
      want: /a message that waits in a worker longer than the visibility timeout \(600 s\)/,
    },
    'is not there by default, whatever the policy': {
      pool: makePool().ack('Late').prefetch('Multiplier'),
      want: undefined,
    },
  };
  for (const [name, { pool, want }] of Object.entries(rows)) {
    it(`VisibilityHazard ${name}`, () => {
      const words = wordsOf('VisibilityHazard', { pool: pool.obj() });
      if (want === undefined) expect(words).to.equal(undefined);
      else expect(words).to.match(want);
    });
  }

  it('PrefetchHazard is there with policy Unlimited only', () => {
    expect(wordsOf('PrefetchHazard', { pool: makePool().prefetch('Unlimited').obj() })).to.match(
      /^True\/Unlimited: .*write prefetch\.policy: Fair/,
    );
    expect(wordsOf('PrefetchHazard', { pool: makePool().prefetch('Multiplier', 1000).obj() })).to.equal(undefined);
  });

  it('WorkerHazard has what workers say, each once and in a fixed order', () => {
    const words = wordsOf('WorkerHazard', { workerProblems: ['b', 'a', 'b'] });
    expect(words).to.equal('True/NotSupported: a; b');
  });

  it('WorkerHazard names silent workers, but not those that start or end', () => {
    const settled = new Set(['p1', 'p2', 'p3', 'p4']);
    const silentPods = ['p4', 'p3', 'p2', 'p1', 'new'];
    expect(wordsOf('WorkerHazard', { silentPods, pods: pods(4, { settled }) })).to.equal(
      'True/Silent: nothing is heard from the worker of p1, p2, p3 and 1 more',
    );
    expect(wordsOf('WorkerHazard', { silentPods: ['new'], pods: pods(4, { settled }) })).to.equal(undefined);
  });
});
