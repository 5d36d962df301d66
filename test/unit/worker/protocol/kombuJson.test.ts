import { expect } from 'chai';
import fc from 'fast-check';
import { parseExactJson } from '../../../../worker/protocol/exactJson.ts';
import { decodeJson, encodeJson } from '../../../../worker/protocol/kombuJson.ts';
import { CeleryDate, CeleryDateTime, CeleryTime, Decimal, Uuid } from '../../../../worker/protocol/values.ts';
import { asRead } from './asRead.ts';

const typed = (type: string, value: unknown): string => JSON.stringify({ __type__: type, __value__: value });

function decoded(text: string): unknown {
  const parsed = decodeJson(text);
  if (parsed.kind === 'malformed') throw new Error(parsed.why);
  return parsed.value;
}

describe('decodeJson', () => {
  const cases: Readonly<Record<string, { text: string; want: unknown }>> = {
    'a datetime': {
      text: typed('datetime', '2026-11-22T04:41:24.771708+00:00'),
      want: new CeleryDateTime('2026-11-22T04:41:24.771708+00:00'),
    },
    'a day': { text: typed('date', '2026-02-28'), want: new CeleryDate('2026-02-28') },
    'a day of kombu 5.2, written as a datetime': {
      text: typed('date', '2026-02-28T00:00:00'),
      want: new CeleryDate('2026-02-28'),
    },
    'a time of day': { text: typed('time', '04:41:24.771708+01:00'), want: new CeleryTime('04:41:24.771708+01:00') },
    'a decimal': { text: typed('decimal', '1.10'), want: new Decimal('1.10') },
    'a UUID': {
      text: typed('uuid', { hex: '12345678123456781234567812345678' }),
      want: new Uuid('12345678-1234-5678-1234-567812345678'),
    },
    'bytes that are a text': { text: typed('bytes', 'é'), want: Buffer.from('é') },
    'bytes that are none': { text: typed('base64', '/wD+'), want: Buffer.from([255, 0, 254]) },
    'an unknown type': { text: typed('complex', [1, 2]), want: { __type__: 'complex', __value__: [1, 2] } },
    'a type that is a number': { text: '{"__type__": 1, "__value__": 2}', want: { __type__: 1, __value__: 2 } },
    'an object with one more field': {
      text: '{"__type__": "date", "__value__": "2026-02-28", "more": 1}',
      want: { __type__: 'date', __value__: '2026-02-28', more: 1 },
    },
    'a typed value in a typed value': {
      text: `{"__type__": "x", "__value__": ${typed('decimal', '1')}}`,
      want: { __type__: 'x', __value__: new Decimal('1') },
    },
    'the first integer that a number cannot hold': { text: '9007199254740993', want: 9_007_199_254_740_993n },
    'the last integer that a number holds': { text: '9007199254740991', want: 9_007_199_254_740_991 },
    'a huge negative integer': { text: '[-1180591620717411303424]', want: [-(2n ** 70n)] },
    'a float of many digits': { text: '0.12345678901234567890', want: 0.123_456_789_012_345_68 },
    NaN: { text: '[NaN]', want: [NaN] },
    infinities: { text: '{"a": Infinity, "b": -Infinity}', want: { a: Infinity, b: -Infinity } },
    'digits in a text': { text: '{"id": "12345678901234567890", "n": 1}', want: { id: '12345678901234567890', n: 1 } },
    'a lone surrogate': { text: '["\\ud800", 12345678901234567890]', want: ['\ud800', 12_345_678_901_234_567_890n] },
    'every escape, read exactly': { text: '["\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9", NaN]', want: ['"\\/\b\f\n\r\té', NaN] },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`reads ${name}`, () => {
      expect(decoded(tc.text)).to.deep.equal(tc.want);
    });
  }

  const bad: Readonly<Record<string, { text: string; want: string }>> = {
    'a datetime that is none': {
      text: typed('datetime', 'x'),
      want: 'a value of __type__ datetime is not an ISO 8601 time',
    },
    'a UUID without hex': { text: typed('uuid', { int: 1 }), want: 'a value of __type__ uuid is not a text' },
    'a UUID of null': { text: typed('uuid', null), want: 'a value of __type__ uuid is not a text' },
    'bytes of a number': { text: typed('bytes', 5), want: 'a value of __type__ bytes is not a text' },
    'a decimal of a word': { text: typed('decimal', 'x'), want: 'a value of __type__ decimal is not a decimal number' },
    'nothing after NaN': { text: '[NaN', want: 'a comma or ] is missing at position 4' },
    'two values': { text: 'NaN 1', want: 'text after the end of the JSON value at position 4' },
    'a name without quotes': { text: '{a: 1}', want: 'a name in quotes is missing at position 1' },
    'a text without an end': { text: '["a', want: 'a text is not closed at position 3' },
    'a control character in a text': { text: '["\u0001"]', want: 'a text is not closed at position 2' },
    'a leading zero': { text: '[01]', want: 'a comma or ] is missing at position 2' },
    'a cut escape': { text: '"\\u12"', want: 'a \\u escape is cut off at position 1' },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`says what is wrong with ${name}`, () => {
      expect(decodeJson(tc.text)).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }

  it('refuses typed values that are nested without end', () => {
    const deep = `${'['.repeat(3000)}${typed('decimal', '1')}${']'.repeat(3000)}`;
    expect(decodeJson(deep)).to.deep.equal({ kind: 'malformed', why: 'values are nested deeper than 2000 levels' });
  });
});

describe('parseExactJson', () => {
  it('reads what JSON.parse reads, the same', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parseExactJson(text)).to.deep.equal({ kind: 'ok', value: asRead(JSON.parse(text)) });
      }),
    );
  });

  it('refuses what JSON.parse refuses, NaN and infinities apart', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json().map((text) => text.slice(0, -1)),
        ),
        (text) => {
          let isJson = true;
          try {
            JSON.parse(text);
          } catch {
            isJson = false;
          }
          fc.pre(!/NaN|Infinity/.test(text));
          expect(parseExactJson(text).kind === 'ok').to.equal(isJson);
        },
      ),
    );
  });
});

describe('encodeJson', () => {
  const cases: Readonly<Record<string, { value: unknown; want: string }>> = {
    nothing: { value: undefined, want: 'null' },
    'undefined in a list': { value: [undefined, 1], want: '[null,1]' },
    'undefined in an object': { value: { a: undefined, b: 1 }, want: '{"b":1}' },
    'a bigint': { value: { n: 2n ** 70n }, want: '{"n":1180591620717411303424}' },
    'NaN and the infinities': { value: [NaN, Infinity, -Infinity], want: '[NaN,Infinity,-Infinity]' },
    'minus zero': { value: -0, want: '-0.0' },
    'a Date': { value: new Date(1_795_322_484_771), want: typed('datetime', '2026-11-22T04:41:24.771000+00:00') },
    'a Date of whole seconds': { value: new Date(0), want: typed('datetime', '1970-01-01T00:00:00+00:00') },
    'bytes that are a text': { value: Buffer.from('é'), want: typed('bytes', 'é') },
    'bytes that are none': { value: new Uint8Array([255]), want: typed('base64', '/w==') },
    'bytes with a byte order mark': { value: Buffer.from([0xef, 0xbb, 0xbf, 0x61]), want: typed('bytes', '\ufeffa') },
    'no bytes': { value: Buffer.alloc(0), want: typed('bytes', '') },
    'a part of a buffer': { value: new Uint8Array([1, 255, 2]).subarray(1, 2), want: typed('base64', '/w==') },
    'an object with toJSON': { value: { toJSON: () => ({ a: 1n }) }, want: '{"a":1}' },
    'a URL': { value: new URL('http://a/'), want: '"http://a/"' },
    'an instance of a class': {
      value: new (class Point {
        x = 1;
      })(),
      want: '{"x":1}',
    },
    'an object without a prototype': { value: Object.assign(Object.create(null) as object, { x: 1 }), want: '{"x":1}' },
    'a boxed number': { value: [Object(1)], want: '[1]' },
    'a lone surrogate': { value: '\ud800', want: '"\\ud800"' },
    'a name that needs quotes, beside a bigint': { value: { 'a"b': 1n }, want: '{"a\\"b":1}' },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`writes ${name}`, () => {
      expect(encodeJson(tc.value)).to.equal(tc.want);
    });
  }

  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  const bad: Readonly<Record<string, { value: unknown; want: string }>> = {
    'a function': { value: () => 1, want: 'the result is a function, which JSON cannot hold' },
    'a symbol in a list': { value: [1, Symbol('a')], want: 'the result[1] is a symbol, which JSON cannot hold' },
    'a Map': { value: { a: { b: new Map() } }, want: 'the result.a.b is a Map, which JSON cannot hold' },
    'a Set': { value: new Set(), want: 'the result is a Set, which JSON cannot hold' },
    'an Error': { value: [new Error('secret')], want: 'the result[0] is an Error, which JSON cannot hold' },
    'a Promise': {
      value: Promise.resolve(),
      want: 'the result is a Promise that was not awaited, which JSON cannot hold',
    },
    'an invalid Date': { value: new Date(NaN), want: 'the result is an invalid Date, which JSON cannot hold' },
    'a Date after the year 9999': {
      value: new Date(8.64e15),
      want: 'the result is a Date outside of the years 1 to 9999, which JSON cannot hold',
    },
    'an array of floats': { value: new Float64Array(1), want: 'the result is a Float64Array, which JSON cannot hold' },
    'an ArrayBuffer': { value: new ArrayBuffer(1), want: 'the result is a ArrayBuffer, which JSON cannot hold' },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`refuses ${name}`, () => {
      expect(() => encodeJson(tc.value, 'the result')).to.throw(tc.want);
    });
  }

  it('refuses a circular value with a short sentence', () => {
    expect(() => encodeJson(circular, 'the result')).to.throw(
      /^the result\.self.{1,250} is circular or nested deeper than 1000 levels$/s,
    );
  });

  it('writes any JSON value so that it is read the same', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(decoded(encodeJson(value))).to.deep.equal(asRead(value));
      }),
    );
  });

  it('writes the values of JavaScript so that they are read the same', () => {
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        fc.string(),
        fc.double(),
        fc.bigInt(),
        fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }),
        fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.string(), tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).value;
    fc.assert(
      fc.property(value, (item) => {
        expect(encodeJson(decoded(encodeJson(item)))).to.equal(encodeJson(item));
      }),
    );
  });
});

describe('values of Python', () => {
  it('are sent on as they came', () => {
    for (const text of [
      typed('datetime', '2026-11-22T04:41:24.771708+00:00'),
      typed('datetime', '2026-11-22T04:41:24+05:30'),
      typed('datetime', '2026-11-22T04:41:24'),
      typed('time', '04:41:24.771708'),
      typed('decimal', '1E+3'),
      typed('decimal', 'NaN'),
      typed('uuid', { hex: '12345678123456781234567812345678' }),
      typed('complex', [1, 2]),
    ]) {
      expect(encodeJson(decoded(text))).to.equal(text);
    }
  });

  it('are what they say: a datetime is a Date, in UTC if it has no offset', () => {
    const value = decoded(typed('datetime', '1970-01-01T00:00:01.5')) as CeleryDateTime;
    expect(value).to.be.instanceOf(Date);
    expect(value.getTime()).to.equal(1500);
    expect(value.toISOString()).to.equal('1970-01-01T00:00:01.500Z');
  });

  it('that are changed are sent as they are then', () => {
    const value = decoded(typed('datetime', '1970-01-01T00:00:01.500001+05:30')) as CeleryDateTime;
    value.setTime(1000);
    expect(encodeJson(value)).to.equal(typed('datetime', '1970-01-01T00:00:01+00:00'));
  });

  const refused: Readonly<Record<string, () => unknown>> = {
    'a day in February that is none': () => new CeleryDate('2026-02-30'),
    'a day with a time': () => new CeleryDate('2026-02-28T00:00'),
    'a time of 24 hours': () => new CeleryTime('24:00'),
    'a time of day that is a word': () => new CeleryTime('noon'),
    'an empty decimal': () => new Decimal(''),
    'a short UUID': () => new Uuid('1234'),
    'an invalid datetime': () => new CeleryDateTime('now'),
  };
  for (const [name, make] of Object.entries(refused)) {
    it(`refuse ${name}`, () => {
      expect(make).to.throw(RangeError);
    });
  }

  it('are texts where a text is wanted', () => {
    const uuid = new Uuid('12345678123456781234567812345678');
    expect(`${uuid.toString()} ${new Decimal('1.10').toString()} ${new CeleryDate('2026-02-28').toString()}`).to.equal(
      '12345678-1234-5678-1234-567812345678 1.10 2026-02-28',
    );
    expect(JSON.stringify([uuid, new CeleryTime('04:41')])).to.equal(
      '["12345678-1234-5678-1234-567812345678","04:41"]',
    );
    expect(new Decimal('-Infinity').toNumber()).to.equal(-Infinity);
    expect(new Decimal('1E+3').toNumber()).to.equal(1000);
  });
});
