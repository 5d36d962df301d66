import { expect } from 'chai';
import fc from 'fast-check';
import { buildMessage, parseMessage, resendMessage, type OutgoingTask } from '../../../../worker/protocol/message.ts';
import { openEnvelope } from '../../../support/golden.ts';
import { asRead } from './asRead.ts';
import { changed, plain } from './changed.ts';

describe('buildMessage', () => {
  const bad: Readonly<Record<string, { outgoing: Partial<OutgoingTask>; want: string }>> = {
    'a function': { outgoing: { args: [1, { f: () => 1 }] }, want: 'args[1].f is a function, which JSON cannot hold' },
    'a Map': { outgoing: { kwargs: { m: new Map() } }, want: 'kwargs.m is a Map, which JSON cannot hold' },
    'a Promise': {
      outgoing: { args: [Promise.resolve()] },
      want: 'args[0] is a Promise that was not awaited, which JSON cannot hold',
    },
    'a negative retry': { outgoing: { retries: -1 }, want: 'retries is -1, not a whole number from 0' },
    'a priority of 10': { outgoing: { priority: 10 }, want: 'the priority is 10, not one of 0 (first) to 9' },
    'a time limit of 0': {
      outgoing: { timeLimitSeconds: 0 },
      want: 'the time limit is 0, not a positive number of seconds',
    },
    'an eta after the year 9999': {
      outgoing: { eta: 253_402_300_800_000 },
      want: 'the time 253402300800000 ms is not within the years 1 to 9999',
    },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`refuses ${name}`, () => {
      expect(() => buildMessage({ ...plain, ...tc.outgoing })).to.throw(tc.want);
    });
  }

  const message = fc.record({
    task: fc.string({ minLength: 1 }),
    id: fc.uuid(),
    tag: fc.uuid(),
    args: fc.array(fc.jsonValue()),
    kwargs: fc.dictionary(fc.string(), fc.jsonValue()),
    retries: fc.nat(),
    eta: fc.option(fc.integer({ min: 0, max: 253_402_300_799_999 }), { nil: undefined }),
    groupIndex: fc.option(fc.nat(), { nil: undefined }),
    priority: fc.integer({ min: 0, max: 9 }),
    routingKey: fc.string({ minLength: 1 }),
    shadow: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    ignoreResult: fc.boolean(),
  });

  it('writes what parseMessage reads', () => {
    fc.assert(
      fc.property(message, (outgoing) => {
        const parsed = parseMessage(buildMessage(outgoing).raw);
        if (parsed.kind !== 'ok') throw new Error(parsed.why);
        const { eta, tag, ...rest } = outgoing;
        const got = parsed.message;
        expect(got.etaMs).to.equal(eta);
        expect(got.properties['delivery_tag']).to.equal(tag);
        expect(Object.fromEntries(Object.keys(rest).map((name) => [name, got[name as never]]))).to.deep.equal(
          asRead(rest),
        );
      }),
    );
  });
});

describe('resendMessage', () => {
  it('changes the tag and some headers, and leaves the body byte for byte', () => {
    const raw = changed({ body: '[[1.0, 1e2], {}, {"callbacks": null}]', headers: { tenant: 'a' } });
    const resent = resendMessage(raw, { tag: 'new-tag', headers: { retries: 1, eta: '2031-01-01T00:00:00+00:00' } });
    if (resent.kind !== 'ok') throw new Error(resent.why);
    const before = JSON.parse(raw) as { body: string };
    const after = JSON.parse(resent.value.raw) as { body: string };
    expect(after.body).to.equal(before.body);
    const { headers, properties } = openEnvelope(resent.value.raw) as Record<string, Record<string, unknown>>;
    expect(headers).to.include({ retries: 1, tenant: 'a', eta: '2031-01-01T00:00:00+00:00', id: 'an-id' });
    expect(properties).to.include({ delivery_tag: 'new-tag', correlation_id: 'an-id' });
  });

  it('never throws for a text that is no message', () => {
    for (const raw of ['', '[]', '{}', 'null', '{"properties": []}', changed({ envelope: { headers: {} } })]) {
      expect(resendMessage(raw, { tag: 't' }).kind).to.equal('malformed');
    }
  });
});
