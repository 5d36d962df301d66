import { expect } from 'chai';
import fc from 'fast-check';
import { nodeNameOf, parseWorkerMessage, podOf } from '../../../operator/fleet/heartbeat.ts';
import { envelope, published } from '../broker/kombuBytes.ts';

const beat = { type: 'worker-heartbeat', hostname: 'a@pod-1', active: 1, processed: 7, freq: 2 };
const extra = {
  v: 1,
  pool: 'shop/a',
  queues: ['q'],
  slots: 4,
  running: { q: 1 },
  held: { q: 2 },
  scheduled: 3,
  ackMode: 'Late',
  prefetch: 'Fair',
  problems: ['p'],
};

describe('parseWorkerMessage', () => {
  it('reads what a real worker published', () => {
    expect(parseWorkerMessage(published.heartbeat)).to.deep.equal({
      kind: 'heartbeat',
      hostname: 'reports@reports-5c9d-abcde',
      active: 0,
      processed: 0,
      periodMs: 2000,
      extra: {
        pool: 'shop/reports',
        queues: ['celery'],
        slots: 1,
        running: {},
        held: {},
        scheduled: 0,
        ackMode: 'Late',
        prefetch: 'Fair',
        problems: [],
      },
    });
    expect(parseWorkerMessage(published.offline)).to.deep.equal({
      kind: 'offline',
      hostname: 'reports@reports-5c9d-abcde',
    });
    expect(parseWorkerMessage(published.online)).to.deep.equal({ kind: 'other' });
  });

  it('reads a worker without the file of Muster', () => {
    expect(parseWorkerMessage(envelope(beat, 'none'))).to.deep.equal({
      kind: 'heartbeat',
      hostname: 'a@pod-1',
      active: 1,
      processed: 7,
      periodMs: 2000,
    });
  });

  it('takes fields of a newer file for what they are: none of its business', () => {
    const message = parseWorkerMessage(envelope({ ...beat, muster: { ...extra, v: 2, news: { a: 1 } } }));
    expect(message).to.have.nested.property('extra.running.q', 1);
    expect(message).not.to.have.nested.property('extra.news');
  });

  it('accepts what a worker leaves out because it does not know it', () => {
    const { pool, slots, ackMode, prefetch, problems, ...rest } = extra;
    const message = parseWorkerMessage(envelope({ ...beat, muster: rest }));
    expect(message).to.deep.include({
      extra: { queues: ['q'], running: { q: 1 }, held: { q: 2 }, scheduled: 3, problems: [] },
    });
    expect([pool, slots, ackMode, prefetch, problems]).to.have.length(5);
  });

  const badExtras: Record<string, unknown> = {
    'no object': 7,
    'no version': { ...extra, v: undefined },
    'a count below 0': { ...extra, running: { q: -1 } },
    'a count that is no number': { ...extra, held: { q: 'two' } },
    'a fraction of a task': { ...extra, scheduled: 0.5 },
    'queues that are no list': { ...extra, queues: 'q' },
    'problems that are no sentences': { ...extra, problems: [1] },
    'more queues than anybody has': {
      ...extra,
      running: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`q${i}`, 1])),
    },
  };
  for (const [name, muster] of Object.entries(badExtras)) {
    it(`keeps the heartbeat and drops the extra field when it has ${name}`, () => {
      const message = parseWorkerMessage(envelope({ ...beat, muster }));
      expect(message).to.include({ kind: 'heartbeat', active: 1 });
      expect(message)
        .to.have.property('extraProblem')
        .that.matches(/^muster/);
      expect(message).not.to.have.property('extra');
    });
  }

  const malformed: Record<string, string> = {
    'no JSON': 'hello',
    'no object': '[1]',
    'no body': '{}',
    'a body that is no JSON': envelope('x').replace(/"body":"[^"]*"/, '"body":"!!"'),
    'a body that is a list, as task.multi has': envelope([beat]),
    'no type': envelope({ hostname: 'a@b' }),
    'no hostname': envelope({ ...beat, hostname: undefined }),
    'a count that is none': envelope({ ...beat, active: 'x' }),
    'a count below 0': envelope({ ...beat, processed: -1 }),
    'far too much': envelope({ ...beat, more: 'x'.repeat(100_000) }),
  };
  for (const [name, text] of Object.entries(malformed)) {
    it(`counts a message with ${name} as malformed`, () => {
      expect(parseWorkerMessage(text).kind).to.equal('malformed');
    });
  }

  it('never throws, whatever is published', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseWorkerMessage(text)));
    fc.assert(fc.property(fc.jsonValue(), (value) => void parseWorkerMessage(JSON.stringify(value))));
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (active, muster) => {
        const { kind } = parseWorkerMessage(envelope({ ...beat, active, muster }));
        expect(kind).to.be.oneOf(['heartbeat', 'malformed']);
      }),
    );
  });

  it('finds pod and pool name in a node name', () => {
    expect(podOf('reports@reports-5c9d-abcde')).to.equal('reports-5c9d-abcde');
    expect(nodeNameOf('reports@reports-5c9d-abcde')).to.equal('reports');
    expect([podOf('pod'), nodeNameOf('pod')]).to.deep.equal(['pod', '']);
  });
});
