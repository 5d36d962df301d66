import { expect } from 'chai';
import {
  conditionCatalog,
  formatTime,
  maxMessageLength,
  replaceConditions,
  setCondition,
  truncate,
  type WantedCondition,
} from '../../../operator/api/v1alpha1/conditions.ts';
import type { Condition } from '../../../operator/api/v1alpha1/workerpool.ts';

const earlier = Date.UTC(2026, 0, 1);
const later = earlier + 61_500;
const ready: WantedCondition = { type: 'Ready', status: 'True', reason: 'Running', message: '1 of 1 pods ready' };
const starting: WantedCondition = { type: 'Ready', status: 'False', reason: 'Starting', message: '0 of 1 pods ready' };
const hazard: WantedCondition = { type: 'PrefetchHazard', status: 'True', reason: 'Unlimited', message: 'all of them' };
const first = setCondition([], starting, { nowMs: earlier, generation: 1 });

describe('setCondition', () => {
  it('adds a condition that was not there, in whole seconds and with the generation', () => {
    expect(first).to.deep.equal([
      {
        type: 'Ready',
        status: 'False',
        observedGeneration: 1,
        lastTransitionTime: '2026-01-01T00:00:00Z',
        reason: 'Starting',
        message: '0 of 1 pods ready',
      },
    ]);
  });

  it('moves lastTransitionTime when the status changes', () => {
    const [condition] = setCondition(first, ready, { nowMs: later, generation: 1 });
    expect(condition).to.include({ status: 'True', lastTransitionTime: '2026-01-01T00:01:01Z' });
  });

  it('keeps lastTransitionTime when only reason, message or generation change', () => {
    const other: WantedCondition = { type: 'Ready', status: 'False', reason: 'Unschedulable', message: 'no room' };
    const [condition] = setCondition(first, other, { nowMs: later, generation: 2 });
    expect(condition).to.include({
      reason: 'Unschedulable',
      message: 'no room',
      observedGeneration: 2,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    });
  });

  it('gives the same list for the same condition at another time', () => {
    expect(setCondition(first, starting, { nowMs: later, generation: 1 })).to.deep.equal(first);
  });

  it('leaves other conditions where they are', () => {
    const both = setCondition(first, hazard, { nowMs: earlier, generation: 1 });
    expect(setCondition(both, ready, { nowMs: later, generation: 1 }).map(({ type }) => type)).to.deep.equal([
      'Ready',
      'PrefetchHazard',
    ]);
  });

  it('shortens a message that the schema would refuse', () => {
    const long: WantedCondition = { ...starting, message: 'x'.repeat(5000) };
    const [condition] = setCondition([], long, { nowMs: earlier, generation: 1 });
    expect(condition?.message).to.have.length(maxMessageLength).and.match(/x…$/);
  });
});

describe('replaceConditions', () => {
  it('removes what is not wanted any more and keeps times of what is', () => {
    const before = replaceConditions([], [starting, hazard], { nowMs: earlier, generation: 1 });
    const after = replaceConditions(before, [starting], { nowMs: later, generation: 1 });
    expect(after).to.deep.equal([before[0]]);
  });

  it('starts anew for a hazard that comes back', () => {
    const came = replaceConditions([], [hazard], { nowMs: earlier, generation: 1 });
    const went = replaceConditions(came, [], { nowMs: earlier + 1000, generation: 1 });
    const again = replaceConditions(went, [hazard], { nowMs: later, generation: 1 });
    expect(again.map(({ lastTransitionTime }: Condition) => lastTransitionTime)).to.deep.equal([
      '2026-01-01T00:01:01Z',
    ]);
  });
});

describe('the catalog of conditions', () => {
  it('says for every reason which status it goes with', () => {
    for (const { reasons } of Object.values(conditionCatalog)) {
      for (const words of Object.values(reasons)) expect(words).to.match(/^(True|False|Unknown): .*\.$/);
    }
  });

  it('names types and reasons as Kubernetes demands of reasons', () => {
    for (const [type, { reasons }] of Object.entries(conditionCatalog)) {
      for (const word of [type, ...Object.keys(reasons)]) expect(word).to.match(/^[A-Z][A-Za-z]+$/);
    }
  });
});

describe('truncate', () => {
  it('keeps a text that fits and marks one that does not', () => {
    expect(truncate('abc', 3)).to.equal('abc');
    expect(truncate('abcd', 3)).to.equal('ab…');
  });
});

describe('formatTime', () => {
  it('cuts to whole seconds', () => {
    expect(formatTime(later)).to.equal('2026-01-01T00:01:01Z');
  });
});
