import { expect } from 'chai';
import fc from 'fast-check';
import { decide, type Decision, type ScalingPolicy } from '../../../operator/scaling/decide.ts';
import { known, unknown, type Known } from '../../../operator/signals/known.ts';
import type { Signals } from '../../../operator/signals/signals.ts';

const policy: ScalingPolicy = { minReplicas: 0, maxReplicas: 10, tasksPerReplica: 4, idleMs: 30_000 };

function load(outstandingAtLeast: number, emptyForMs: Known<number> = known(0)): Signals {
  return {
    ready: known(outstandingAtLeast),
    running: known(0),
    held: known(0),
    outstandingAtLeast,
    emptyForMs,
    memory: {},
  };
}

describe('decide', () => {
  const cases: Record<
    string,
    { signals: Signals; policy?: Partial<ScalingPolicy>; current: number; want: Partial<Decision> }
  > = {
    'wakes a pool at zero for a single task': {
      signals: load(1),
      current: 0,
      want: { replicas: 1, reason: 'Backlog' },
    },
    'goes from 1 to what the backlog needs in one step': {
      signals: load(33),
      current: 1,
      want: { replicas: 9, reason: 'Backlog' },
    },
    'stops at maxReplicas and says so': {
      signals: load(500),
      current: 1,
      want: { replicas: 10, limitedBy: 'MaxReplicas' },
    },
    'grows on a partial view: what is known is enough to see work': {
      signals: load(9, unknown('queue b: not read yet')),
      current: 1,
      want: { replicas: 3, reason: 'Backlog' },
    },
    'holds while the broker is unreachable': {
      signals: load(0, unknown('broker is down')),
      current: 7,
      want: { replicas: 7, reason: 'SignalUnknown' },
    },
    'holds at full size while one task of many is left': {
      signals: load(1),
      current: 8,
      want: { replicas: 8, reason: 'Busy' },
    },
    'waits for idleSeconds before it shrinks, and says when to look again': {
      signals: load(0, known(10_000)),
      current: 3,
      want: { replicas: 3, reason: 'IdleWait', nextCheckMs: 20_000 },
    },
    'shrinks to the minimum when proven empty for idleSeconds': {
      signals: load(0, known(30_000)),
      policy: { minReplicas: 2 },
      current: 5,
      want: { replicas: 2, reason: 'Idle' },
    },
    'a raised minimum is met at once': {
      signals: load(0),
      policy: { minReplicas: 3 },
      current: 1,
      want: { replicas: 3, reason: 'BelowMinimum' },
    },
    'a lowered maximum does not take pods from under running tasks': {
      signals: load(40),
      policy: { maxReplicas: 2 },
      current: 10,
      want: { replicas: 10, reason: 'Busy', limitedBy: 'MaxReplicas' },
    },
    'a size above a lowered maximum that is held for want of a signal says what limits it': {
      signals: load(40, unknown('queue b: not read yet')),
      policy: { maxReplicas: 2 },
      current: 10,
      want: { replicas: 10, reason: 'SignalUnknown', limitedBy: 'MaxReplicas' },
    },
    'a pool that waits to shrink to its minimum says what limits it': {
      signals: load(0, known(10_000)),
      policy: { minReplicas: 2 },
      current: 5,
      want: { replicas: 5, reason: 'IdleWait', limitedBy: 'MinReplicas' },
    },
    'spec.replicas switches autoscaling off': {
      signals: load(100),
      policy: { fixedReplicas: 3 },
      current: 1,
      want: { replicas: 3, reason: 'Fixed' },
    },
    'an unchanged load is steady': { signals: load(4), current: 1, want: { replicas: 1, reason: 'Steady' } },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(name, () => {
      expect(decide(tc.signals, { ...policy, ...tc.policy }, tc.current)).to.deep.include(tc.want);
    });
  }

  const anyPolicy = fc
    .record({
      minReplicas: fc.nat(20),
      span: fc.nat(50),
      tasksPerReplica: fc.integer({ min: 1, max: 50 }),
      idleMs: fc.nat(60_000),
    })
    .map(({ minReplicas, span, tasksPerReplica, idleMs }) => ({
      minReplicas,
      maxReplicas: minReplicas + span,
      tasksPerReplica,
      idleMs,
    }));
  const anyEmpty = fc.oneof(fc.nat(120_000).map(known), fc.constant(unknown('silent')));

  it('never shrinks while anything is outstanding or unknown', () => {
    fc.assert(
      fc.property(anyPolicy, fc.nat(1000), anyEmpty, fc.nat(100), (anyOf, outstanding, empty, current) => {
        const { replicas } = decide(load(outstanding, outstanding > 0 ? known(0) : empty), anyOf, current);
        if (outstanding > 0 || empty.kind === 'unknown') expect(replicas).to.be.at.least(current);
      }),
    );
  });

  it('never grows beyond the maximum, and more work never asks for fewer pods', () => {
    fc.assert(
      fc.property(
        anyPolicy,
        fc.integer({ min: 1, max: 1000 }),
        fc.nat(1000),
        fc.nat(100),
        (anyOf, less, more, current) => {
          const small = decide(load(less), anyOf, current).replicas;
          const large = decide(load(less + more), anyOf, current).replicas;
          expect(large).to.be.at.least(small);
          expect(small).to.be.at.most(Math.max(current, anyOf.maxReplicas));
        },
      ),
    );
  });
});
