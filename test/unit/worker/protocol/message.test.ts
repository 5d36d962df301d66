import { expect } from 'chai';
import fc from 'fast-check';
import { buildMessage, parseMessage } from '../../../../worker/protocol/message.ts';
import { changed, plain } from './changed.ts';

const embedOf = (embed: unknown): string => JSON.stringify([[1], {}, embed]);

describe('parseMessage', () => {
  const bad: Readonly<Record<string, { raw: string; wantKind?: 'refused'; wantWhy: string }>> = {
    'a text that is no JSON': { raw: 'hello', wantWhy: 'the message is not JSON: a value is missing at position 0' },
    'an empty text': { raw: '', wantWhy: 'the message is not JSON: a value is missing at position 0' },
    'a JSON list': { raw: '[]', wantWhy: 'the message is not an object' },
    'a JSON null': { raw: 'null', wantWhy: 'the message is not an object' },
    'an empty object': { raw: '{}', wantWhy: 'the message has no properties' },
    'headers that are a list': {
      raw: changed({ envelope: { headers: [] } }),
      wantWhy: 'the headers are not an object',
    },
    'properties that are a text': {
      raw: changed({ envelope: { properties: 'x' } }),
      wantWhy: 'the message has no properties',
    },
    'no headers and a list as body': {
      raw: changed({ envelope: { headers: {} } }),
      wantWhy: 'neither the headers nor the body name a task',
    },
    'headers of null': {
      raw: changed({ envelope: { headers: null } }),
      wantWhy: 'neither the headers nor the body name a task',
    },
    'no body': { raw: changed({ envelope: { body: undefined } }), wantWhy: 'the body is not a text' },
    'an empty body': { raw: changed({ envelope: { body: '' } }), wantWhy: 'the body is empty' },
    'a body that is not base64': {
      raw: changed({ envelope: { body: '{"a": "ä€"}' } }),
      wantWhy: 'the body is not base64',
    },
    'a body that is base64 of something else': {
      raw: changed({ body: 'hello' }),
      wantWhy: 'the body is not JSON: a value is missing at position 0',
    },
    'a body that is not UTF-8': {
      raw: changed({ envelope: { body: Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]).toString('base64') } }),
      wantWhy: 'the body is not UTF-8',
    },
    'an unknown body_encoding': {
      raw: changed({ properties: { body_encoding: 'rot13' } }),
      wantWhy: 'the body_encoding "rot13" is unknown',
    },
    'no content type': {
      raw: changed({ envelope: { 'content-type': undefined } }),
      wantWhy: 'the message has no content-type',
    },
    pickle: {
      raw: changed({ envelope: { 'content-type': 'application/x-python-serialize' } }),
      wantKind: 'refused',
      wantWhy: 'the content type "application/x-python-serialize" is not accepted, only application/json',
    },
    yaml: {
      raw: changed({ envelope: { 'content-type': 'application/x-yaml' } }),
      wantKind: 'refused',
      wantWhy: 'the content type "application/x-yaml" is not accepted, only application/json',
    },
    msgpack: {
      raw: changed({ envelope: { 'content-type': 'application/x-msgpack' } }),
      wantKind: 'refused',
      wantWhy: 'the content type "application/x-msgpack" is not accepted, only application/json',
    },
    'an unknown compression': {
      raw: changed({ headers: { compression: 'application/x-bz2' } }),
      wantKind: 'refused',
      wantWhy: 'the compression "application/x-bz2" is not accepted, only gzip and brotli',
    },
    'a body that is not compressed though the headers say so': {
      raw: changed({ headers: { compression: 'application/x-gzip' } }),
      wantWhy: 'the body is not compressed with "application/x-gzip"',
    },
    'a body of two parts': {
      raw: changed({ body: '[[], {}]' }),
      wantWhy: 'the body has 2 parts, not args, kwargs, embed',
    },
    'a body that is a number': {
      raw: changed({ body: '1' }),
      wantWhy: 'the body is not a list of args, kwargs, embed',
    },
    'args that are an object': { raw: changed({ body: '[{}, {}, {}]' }), wantWhy: 'args is not a list' },
    'kwargs that are a list': { raw: changed({ body: '[[], [1], {}]' }), wantWhy: 'kwargs is not an object' },
    'an embed that is a list': {
      raw: changed({ body: '[[], {}, []]' }),
      wantWhy: 'the third part of the body is not an object',
    },
    'a callback that is a text': {
      raw: changed({ body: embedOf({ callbacks: ['x'] }) }),
      wantWhy: 'callbacks[0] is not an object',
    },
    'a callback that is null': {
      raw: changed({ body: embedOf({ callbacks: [null] }) }),
      wantWhy: 'callbacks[0] is not an object',
    },
    'a chain with a task without a name': {
      raw: changed({ body: embedOf({ chain: [{ task: 'a' }, { args: [] }] }) }),
      wantWhy: 'chain[1] names no task',
    },
    'a chord whose args are a text': {
      raw: changed({ body: embedOf({ chord: { task: 'a', args: 'x' } }) }),
      wantWhy: 'chord has args that are no list',
    },
    'no id': { raw: changed({ headers: { id: undefined } }), wantWhy: 'the message has no id' },
    'an id of null': { raw: changed({ headers: { id: null } }), wantWhy: 'the message has no id' },
    'an id that is a number': { raw: changed({ headers: { id: 7 } }), wantWhy: 'id is 7, not a text' },
    'a task that is a list': { raw: changed({ headers: { task: [] } }), wantWhy: 'task is a list, not a text' },
    'a task of null': { raw: changed({ headers: { task: null } }), wantWhy: 'the message has no task' },
    'a root_id that is an object': {
      raw: changed({ headers: { root_id: {} } }),
      wantWhy: 'root_id is an object, not a text',
    },
    'a group that is a number': { raw: changed({ headers: { group: 1 } }), wantWhy: 'group is 1, not a text' },
    'negative retries': {
      raw: changed({ headers: { retries: -1 } }),
      wantWhy: 'retries is -1, not a whole number from 0',
    },
    'retries that are a text': {
      raw: changed({ headers: { retries: '1' } }),
      wantWhy: 'retries is "1", not a whole number from 0',
    },
    'half a retry': {
      raw: changed({ headers: { retries: 0.5 } }),
      wantWhy: 'retries is 0.5, not a whole number from 0',
    },
    'a negative time limit': {
      raw: changed({ headers: { timelimit: [-5, null] } }),
      wantWhy: 'timelimit[0] is -5, not a positive number of seconds',
    },
    'a soft time limit that is a text': {
      raw: changed({ headers: { timelimit: [null, 'x'] } }),
      wantWhy: 'timelimit[1] is "x", not a positive number of seconds',
    },
    'time limits that are a number': {
      raw: changed({ headers: { timelimit: 5 } }),
      wantWhy: 'timelimit is 5, not a list of the hard and the soft limit',
    },
    'an eta that is a number': { raw: changed({ headers: { eta: 5 } }), wantWhy: 'eta is 5, not an ISO 8601 time' },
    'an eta that is a word': {
      raw: changed({ headers: { eta: 'tomorrow' } }),
      wantWhy: 'eta is "tomorrow", not an ISO 8601 time',
    },
    'an eta on the 30th of February': {
      raw: changed({ headers: { eta: '2026-02-30T00:00:00' } }),
      wantWhy: 'eta is "2026-02-30T00:00:00", not an ISO 8601 time',
    },
    'an eta in the year 10000': {
      raw: changed({ headers: { eta: '10000-01-01T00:00:00+00:00' } }),
      wantWhy: 'eta is "10000-01-01T00:00:00+00:00", not an ISO 8601 time',
    },
    'expires that is an object': {
      raw: changed({ headers: { expires: {} } }),
      wantWhy: 'expires is an object, not an ISO 8601 time',
    },
    'a very long eta': {
      raw: changed({ headers: { eta: 'x'.repeat(1000) } }),
      wantWhy: `eta is "${'x'.repeat(60)}…", not an ISO 8601 time`,
    },
    'stamped_headers that are a text': {
      raw: changed({ headers: { stamped_headers: 'x' } }),
      wantWhy: 'stamped_headers is "x", not a list of texts',
    },
    'a datetime that is none': {
      raw: changed({ body: '[[{"__type__": "datetime", "__value__": "x"}], {}, {}]' }),
      wantWhy: 'the body is not JSON: a value of __type__ datetime is not an ISO 8601 time',
    },
    'values nested without end': {
      raw: changed({ body: `[[NaN, ${'['.repeat(5000)}${']'.repeat(5000)}], {}, {}]` }),
      wantWhy: 'the body is not JSON: values are nested deeper than 2000 levels',
    },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`says what is wrong with ${name}`, () => {
      const parsed = parseMessage(tc.raw);
      expect(parsed).to.include({ kind: tc.wantKind ?? 'malformed', why: tc.wantWhy });
    });
  }

  it('gives id and task of a message that it refuses, if they can be read', () => {
    const raw = changed({ envelope: { 'content-type': 'application/x-yaml' } });
    expect(parseMessage(raw)).to.include({ kind: 'refused', id: 'an-id', task: 'images.resize' });
    expect(parseMessage(changed({ headers: { id: 7 } }))).to.not.have.property('id');
  });

  const good: Readonly<Record<string, { raw: string; want: Readonly<Record<string, unknown>> }>> = {
    'an eta in the year 9999': {
      raw: changed({ headers: { eta: '9999-12-31T23:59:59.999999+00:00' } }),
      want: { etaMs: 253_402_300_799_999 },
    },
    'an eta in the year 1': {
      raw: changed({ headers: { eta: '0001-01-01T00:00:00' } }),
      want: { etaMs: -62_135_596_800_000 },
    },
    'an eta with an offset': {
      raw: changed({ headers: { eta: '1970-01-01T05:30:00.5+05:30' } }),
      want: { etaMs: 500 },
    },
    'an eta without an offset, which is UTC': {
      raw: changed({ headers: { eta: '1970-01-01T00:00:01' } }),
      want: { etaMs: 1000 },
    },
    'an eta with Z': { raw: changed({ headers: { eta: '1970-01-01T00:00:01Z' } }), want: { etaMs: 1000 } },
    'expires in the past': {
      raw: changed({ headers: { expires: '1969-12-31T23:59:59+00:00' } }),
      want: { expiresMs: -1000 },
    },
    'a time limit of 0, which is none': {
      raw: changed({ headers: { timelimit: [0, 0] } }),
      want: { timeLimitSeconds: undefined },
    },
    'time limits, hard first': {
      raw: changed({ headers: { timelimit: [30, 20.5] } }),
      want: { timeLimitSeconds: 30, softTimeLimitSeconds: 20.5 },
    },
    'a priority beyond 9': { raw: changed({ properties: { priority: 99 } }), want: { priority: 9 } },
    'a negative priority': { raw: changed({ properties: { priority: -1 } }), want: { priority: 0 } },
    'a priority of null': { raw: changed({ properties: { priority: null } }), want: { priority: 0 } },
    'a priority as a text': { raw: changed({ properties: { priority: '5' } }), want: { priority: 5 } },
    'retries of null': { raw: changed({ headers: { retries: null } }), want: { retries: 0 } },
    'the headers of Celery 5.2': {
      raw: changed({
        headers: {
          stamped_headers: undefined,
          stamps: undefined,
          replaced_task_nesting: undefined,
          ignore_result: undefined,
        },
      }),
      want: { stampedHeaders: undefined, stamps: undefined, replacedTaskNesting: 0, ignoreResult: false },
    },
    'no root_id': { raw: changed({ headers: { root_id: undefined } }), want: { rootId: 'an-id' } },
    'an embed of null': { raw: changed({ body: '[[1], {}, null]' }), want: { args: [1] } },
    'args of null': { raw: changed({ body: '[null, null, {}]' }), want: { args: [], kwargs: {} } },
    'a plain body': {
      raw: changed({ envelope: { body: '[[1, "ä"], {}, {}]' }, properties: { body_encoding: undefined } }),
      want: { args: [1, 'ä'] },
    },
    'a replacement character that was sent': {
      raw: changed({ body: '[["\ufffd"], {}, {}]' }),
      want: { args: ['\ufffd'] },
    },
    'what kombu restores': { raw: changed({ headers: { redelivered: true } }), want: { redelivered: true } },
    'what kombu restores, in the properties': {
      raw: changed({ properties: { delivery_info: { exchange: '', routing_key: 'images', redelivered: true } } }),
      want: { redelivered: true, routingKey: 'images' },
    },
    'no delivery_info': {
      raw: changed({ properties: { delivery_info: undefined } }),
      want: { exchange: '', routingKey: '' },
    },
    'NaN and numbers beyond 2^53': {
      raw: changed({ body: '[[NaN, -Infinity, 9007199254740993], {}, {}]' }),
      want: { args: [NaN, -Infinity, 9_007_199_254_740_993n] },
    },
    'deep values': {
      raw: changed({ body: `[[${'['.repeat(900)}${']'.repeat(900)}], {}, {}]` }),
      want: { protocol: 2 },
    },
    'unknown headers': { raw: changed({ headers: { tenant: 'a' } }), want: { protocol: 2 } },
    'names of the prototype': {
      raw: changed({ body: '[[], {"__proto__": {"a": 1}, "constructor": 1, "toString": 2}, {}]' }),
      want: { protocol: 2 },
    },
    'a hybrid of the protocols': {
      raw: changed({ body: '{"task": "other", "args": [1], "kwargs": {"a": 2}, "callbacks": [{"task": "next"}]}' }),
      want: { task: 'images.resize', args: [1], kwargs: { a: 2 }, protocol: 2 },
    },
    'protocol 1': {
      raw: changed({
        envelope: { headers: {} },
        body: '{"task": "t", "id": "i", "args": [1], "kwargs": {}, "retries": 2, "taskset": "g", "timelimit": [null, 5], "utc": true}',
      }),
      want: {
        task: 't',
        id: 'i',
        rootId: 'i',
        args: [1],
        retries: 2,
        groupId: 'g',
        softTimeLimitSeconds: 5,
        protocol: 1,
      },
    },
    'the least of protocol 1': {
      raw: changed({ envelope: { headers: null }, body: '{"task": "t", "id": "i"}' }),
      want: { task: 't', args: [], kwargs: {}, protocol: 1 },
    },
  };
  for (const [name, tc] of Object.entries(good)) {
    it(`reads ${name}`, () => {
      const parsed = parseMessage(tc.raw);
      if (parsed.kind !== 'ok') throw new Error(parsed.why);
      const got = Object.fromEntries(Object.keys(tc.want).map((field) => [field, parsed.message[field as never]]));
      expect(got).to.deep.equal(tc.want);
    });
  }

  it('does not let a name of the prototype through to the prototype', () => {
    parseMessage(changed({ body: '[[NaN], {"__proto__": {"polluted": 1}}, {}]' }));
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined);
  });

  it('keeps every header, known or not', () => {
    const parsed = parseMessage(changed({ headers: { tenant: 'a', trace: { id: 1 } } }));
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    expect(parsed.message.headers).to.deep.include({ tenant: 'a', trace: { id: 1 }, lang: 'py' });
  });

  it('never throws, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((text) => changed({ body: text })),
        ),
        (raw) => {
          expect(parseMessage(raw).kind).to.be.oneOf(['ok', 'refused', 'malformed']);
        },
      ),
    );
  });

  it('never throws, whatever the value of a field', () => {
    const names = Object.keys((JSON.parse(buildMessage(plain).raw) as { headers: object }).headers);
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.jsonValue(), (name, value) => {
        expect(parseMessage(changed({ headers: { [name]: value } })).kind).to.be.oneOf(['ok', 'malformed']);
      }),
    );
  });

  it('reads a message of 50 MB', function () {
    this.timeout(20_000);
    const text = 'x'.repeat(50 * 1024 * 1024);
    const parsed = parseMessage(buildMessage({ ...plain, args: [text] }).raw);
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    expect((parsed.message.args[0] as string).length).to.equal(text.length);
  });
});
