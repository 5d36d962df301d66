import { expect } from 'chai';
import fc from 'fast-check';
import { createEventFilter } from '../../../operator/kube/eventDedupe.ts';
import { buildEvent, truncateUtf8 } from '../../../operator/kube/events.ts';
import { resources } from '../../../operator/kube/types.ts';
import { createSteppedClock } from '../../support/steppedClock.ts';

const limits = { dedupeMs: 120_000, burst: 3, refillMs: 10_000, maxObjects: 2 };

describe('event filter', () => {
  it('sends the same event once in two minutes', async () => {
    const clock = createSteppedClock();
    const filter = createEventFilter(clock, limits);
    expect(filter.judge('a', 'x')).to.equal('send');
    expect(filter.judge('a', 'x')).to.equal('duplicate');
    expect(filter.judge('b', 'x')).to.equal('send', 'another object is another event');
    await clock.step(119_999);
    expect(filter.judge('a', 'x')).to.equal('duplicate');
    await clock.step(1);
    expect(filter.judge('a', 'x')).to.equal('send');
  });

  it('sends every change of size, in the same words too, within the burst', async () => {
    const clock = createSteppedClock();
    const filter = createEventFilter(clock, limits);
    const up = 'Normal/Scaled/0 → 1 replicas: 1 task outstanding at 1 per pod';
    const down = 'Normal/Scaled/1 → 0 replicas: no task waiting, held or running for 10 s';
    const verdicts = [up, down, up, down].map((each) => filter.judge('a', each));
    expect(verdicts).to.deep.equal(['send', 'send', 'send', 'limited']);
    await clock.step(10_000);
    expect(filter.judge('a', down)).to.equal('send');
  });

  it('finds the reason where it is, and not in the words of a note', () => {
    const filter = createEventFilter(createSteppedClock(), limits);
    for (const key of ['Warning/Broken/not /Scaled/', 'Scaled/Broken/x', 'Normal/ScaledOther/x']) {
      expect(filter.judge(key, key)).to.equal('send');
      expect(filter.judge(key, key)).to.equal('duplicate', key);
    }
  });

  it('gives each object a burst of its own, refilled with time', async () => {
    const clock = createSteppedClock();
    const filter = createEventFilter(clock, limits);
    const verdicts = ['1', '2', '3', '4'].map((each) => filter.judge('a', each));
    expect(verdicts).to.deep.equal(['send', 'send', 'send', 'limited']);
    expect(filter.judge('b', '1')).to.equal('send');
    await clock.step(10_000);
    expect(filter.judge('a', '4')).to.equal('send', 'what was limited was not remembered as sent');
    expect(filter.judge('a', '5')).to.equal('limited');
  });

  it('forgets the object that was silent longest rather than grow for ever', () => {
    const filter = createEventFilter(createSteppedClock(), limits);
    for (const key of ['a', 'b', 'a', 'c']) filter.judge(key, 'x');
    expect(filter.judge('a', 'x')).to.equal('duplicate', 'a was heard of after b');
    expect(filter.judge('b', 'x')).to.equal('send', 'b was forgotten');
  });
});

describe('buildEvent', () => {
  const reporter = { component: 'muster.dev/operator', instance: 'pod' };

  it('says what, about whom, by whom and when, in microseconds', () => {
    const target = { resource: resources.pods, namespace: 'ns', name: 'p', uid: 'u' };
    const event = buildEvent(target, { type: 'Warning', reason: 'Broken', note: 'because' }, reporter, 1500);
    expect(event).to.deep.include({
      eventTime: '1970-01-01T00:00:01.500000Z',
      type: 'Warning',
      reason: 'Broken',
      action: 'Broken',
      note: 'because',
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'ns', name: 'p', uid: 'u' },
    });
    expect(event.metadata.namespace).to.equal('ns');
  });

  it('puts events of cluster-scoped objects where Kubernetes does, and keeps names within their limit', () => {
    const target = { resource: resources.namespaces, name: 'n'.repeat(253) };
    const event = buildEvent(target, { type: 'Normal', reason: 'R', note: '' }, reporter, 0);
    expect(event.metadata.namespace).to.equal('default');
    expect(event.metadata.name).to.have.length.at.most(253);
  });

  it('cuts notes at a character, to at most so many bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.integer({ min: 4, max: 100 }), (raw, maxBytes) => {
        const text = Buffer.from(raw).toString('utf8');
        const cut = truncateUtf8(text, maxBytes);
        expect(Buffer.byteLength(cut)).to.be.at.most(maxBytes);
        if (Buffer.byteLength(text) <= maxBytes) expect(cut).to.equal(text);
        else expect(text.startsWith(cut.slice(0, -1)) && cut.endsWith('…')).to.equal(true);
      }),
    );
  });
});
