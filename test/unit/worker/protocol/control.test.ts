import { expect } from 'chai';
import fc from 'fast-check';
import {
  buildControlReply,
  buildControlRequest,
  isForMe,
  parseControlReply,
  parseControlRequest,
  type ControlRequest,
} from '../../../../worker/protocol/control.ts';
import { allCeleryVersions } from '../../../support/celery.ts';
import { openEnvelope, readGolden } from '../../../support/golden.ts';
import { changed } from './changed.ts';

describe('isForMe', () => {
  const cases: Readonly<
    Record<string, { request: Pick<ControlRequest, 'destination' | 'pattern' | 'matcher'>; want: boolean }>
  > = {
    'nothing said': { request: {}, want: true },
    'my name': { request: { destination: ['x@y', 'celery@host.a'] }, want: true },
    'another name': { request: { destination: ['celery@host'] }, want: false },
    'a destination before a pattern': { request: { destination: ['x@y'], pattern: '*', matcher: 'glob' }, want: false },
    'a glob': { request: { pattern: 'celery@*', matcher: 'glob' }, want: true },
    'a glob of one character': { request: { pattern: 'celery@host.?', matcher: 'glob' }, want: true },
    'a glob with members': { request: { pattern: 'celery@host.[!b]', matcher: 'glob' }, want: true },
    'a glob with members that are others': { request: { pattern: 'celery@host.[b-z]', matcher: 'glob' }, want: false },
    'a glob whose dot is a dot': { request: { pattern: 'celery@hostx?', matcher: 'glob' }, want: false },
    'a glob of a part': { request: { pattern: 'celery', matcher: 'glob' }, want: false },
    'a bracket that is not closed': { request: { pattern: 'celery@[host', matcher: 'glob' }, want: false },
    'a regular expression': { request: { pattern: 'celery@h', matcher: 'pcre' }, want: true },
    'a regular expression from the start': { request: { pattern: 'host', matcher: 'pcre' }, want: false },
    'alternatives from the start': { request: { pattern: 'x|host', matcher: 'pcre' }, want: false },
    'a bad regular expression': { request: { pattern: '(', matcher: 'pcre' }, want: false },
    'an unknown matcher': { request: { pattern: '*', matcher: 'sql' }, want: false },
    'a pattern without a matcher': { request: { pattern: 'x' }, want: true },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`decides by ${name}`, () => {
      expect(isForMe('celery@host.a', tc.request)).to.equal(tc.want);
    });
  }
});

describe('parseControlRequest', () => {
  const bad: Readonly<Record<string, { raw: string; want: string }>> = {
    'no JSON': { raw: 'x', want: 'the control request: a value is missing at position 0' },
    'a list': { raw: '[]', want: 'the control request: it is not an object' },
    'a body that is a list': { raw: changed({ body: '[]' }), want: 'the control request is not an object' },
    'no method': { raw: changed({ body: '{}' }), want: 'the control request names no method' },
    'a method that is a number': {
      raw: changed({ body: '{"method": 5}' }),
      want: 'the control request names no method',
    },
    'arguments that are a list': {
      raw: changed({ body: '{"method": "ping", "arguments": []}' }),
      want: 'the arguments of ping are not an object',
    },
    'a destination that is a text': {
      raw: changed({ body: '{"method": "ping", "destination": "w@h"}' }),
      want: 'the destination of the control request is not a list',
    },
    pickle: {
      raw: changed({ envelope: { 'content-type': 'application/x-python-serialize' } }),
      want: 'the control request: the content type "application/x-python-serialize" is not accepted, only application/json',
    },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`says what is wrong with ${name}`, () => {
      expect(parseControlRequest(tc.raw)).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }

  it('reads what is written, an empty destination as all', () => {
    const reply = { ticket: 't', to: { exchange: '', routingKey: 'r' } };
    const raw = buildControlRequest({
      method: 'ping',
      arguments: { a: 1 },
      destination: [],
      reply,
      clock: 3,
      expiresMs: 5000,
      tag: 'd',
    });
    expect(parseControlRequest(raw)).to.deep.equal({
      kind: 'ok',
      value: {
        method: 'ping',
        arguments: { a: 1 },
        destination: undefined,
        pattern: undefined,
        matcher: undefined,
        ticket: 't',
        replyTo: { exchange: '', routingKey: 'r' },
        clock: 3,
        expiresMs: 5000,
      },
    });
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.json(), (body) => {
        expect(parseControlRequest(changed({ body })).kind).to.be.oneOf(['ok', 'malformed']);
        expect(parseControlReply(changed({ body })).kind).to.be.oneOf(['ok', 'malformed']);
      }),
    );
  });
});

for (const version of allCeleryVersions) {
  describe(`remote control of Celery ${version}`, () => {
    const { control } = readGolden(version);

    it('asks as we ask', () => {
      for (const [name, raw] of Object.entries(control.requests)) {
        const parsed = parseControlRequest(raw);
        if (parsed.kind !== 'ok') throw new Error(parsed.why);
        const { method, destination, pattern, matcher, ticket, replyTo, clock, expiresMs } = parsed.value;
        const theirs = openEnvelope(raw) as Record<string, Record<string, unknown>>;
        const ours = buildControlRequest({
          method,
          arguments: parsed.value.arguments,
          ...(destination === undefined ? {} : { destination }),
          ...(pattern === undefined ? {} : { pattern }),
          ...(matcher === undefined ? {} : { matcher: matcher as 'glob' }),
          ...(ticket === undefined || replyTo === undefined ? {} : { reply: { ticket, to: replyTo } }),
          ...(expiresMs === undefined ? {} : { expiresMs }),
          clock,
          tag: String(theirs['properties']?.['delivery_tag']),
        });
        expect(openEnvelope(ours), name).to.deep.equal(theirs);
      }
    });

    it('answers as we answer', () => {
      for (const [name, raw] of Object.entries(control.replies)) {
        const parsed = parseControlReply(raw);
        if (parsed.kind !== 'ok') throw new Error(parsed.why);
        const theirs = openEnvelope(raw) as Record<string, Record<string, unknown>>;
        const tag = String(theirs['properties']?.['delivery_tag']);
        const replyTo = { exchange: '', routingKey: 'golden.reply' };
        const ours = buildControlReply(parsed.value, { replyTo, clock: parsed.value.clock, tag });
        expect(openEnvelope(ours), name).to.deep.equal(theirs);
      }
    });
  });
}
