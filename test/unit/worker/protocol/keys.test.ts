import { expect } from 'chai';
import { bindingMember, brokerKeys, parseBindingMember, resultKeys } from '../../../../worker/protocol/keys.ts';
import { formatIsoTime, parseIsoTime } from '../../../../worker/protocol/isoTime.ts';
import { priorityStep, readPriority } from '../../../../worker/protocol/priority.ts';
import { reprArgs, reprValue } from '../../../../worker/protocol/pythonRepr.ts';
import { Decimal } from '../../../../worker/protocol/values.ts';

describe('brokerKeys', () => {
  it('names the lists of a queue in the order in which they are served', () => {
    expect(brokerKeys().queueSteps('q')).to.deep.equal(['q', 'q\u0006\u00163', 'q\u0006\u00166', 'q\u0006\u00169']);
  });

  it('names the list of a priority', () => {
    const keys = brokerKeys();
    const names = [0, 1, 2, 3, 5, 6, 8, 9].map((priority) => keys.queue('q', priority).replace('\u0006\u0016', ':'));
    expect(names).to.deep.equal(['q', 'q', 'q', 'q:3', 'q:3', 'q:6', 'q:6', 'q:9']);
  });

  it('puts the prefix in front of everything, and takes other steps and another separator', () => {
    const keys = brokerKeys({ keyPrefix: 'p:', prioritySteps: [0, 5], separator: '|' });
    expect(keys.queueSteps('q')).to.deep.equal(['p:q', 'p:q|5']);
    expect([keys.unacked, keys.unackedIndex, keys.unackedMutex]).to.deep.equal([
      'p:unacked',
      'p:unacked_index',
      'p:unacked_mutex',
    ]);
    expect([keys.binding('e'), keys.bindingPermanent('e'), keys.bindingDeadlines]).to.deep.equal([
      'p:_kombu.binding.e',
      'p:_kombu.binding_permanent.e',
      'p:_kombu.binding_deadlines',
    ]);
    expect(keys.fanoutChannel(2, 'celeryev', 'worker.heartbeat')).to.equal('p:/2.celeryev/worker.heartbeat');
    expect(brokerKeys().fanoutChannel(0, 'celery.pidbox')).to.equal('/0.celery.pidbox');
  });

  it('reads the members of bindings that it writes', () => {
    const binding = { routingKey: 'r', pattern: '', queue: 'q' };
    expect(bindingMember(binding)).to.equal('r\u0006\u0016\u0006\u0016q');
    expect(parseBindingMember(bindingMember(binding))).to.deep.equal(binding);
    expect(parseBindingMember('q')).to.equal(undefined);
  });
});

describe('resultKeys', () => {
  const cases: Readonly<Record<string, { prefix: string; want: string }>> = {
    'no prefix': { prefix: '', want: 'celery-task-meta-i' },
    'a prefix that ends with a mark': { prefix: 'a:', want: 'a:celery-task-meta-i' },
    'a prefix that does not': { prefix: 'a', want: 'a_celery-task-meta-i' },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`takes ${name}`, () => {
      expect(resultKeys(tc.prefix).taskMeta('i')).to.equal(tc.want);
    });
  }

  it('names the keys of a chord', () => {
    const keys = resultKeys();
    const names = [
      keys.group('g'),
      keys.chordParts('g'),
      keys.chordExtra('g'),
      keys.chordSize('g'),
      keys.chordReturned('g'),
    ];
    expect([...names, keys.chordClaim('g')]).to.deep.equal(
      ['', '.j', '.t', '.s', '.d', '.c'].map((end) => `celery-taskset-meta-g${end}`),
    );
  });
});

describe('readPriority', () => {
  const cases: Readonly<Record<string, { value: unknown; want: number }>> = {
    'a number': { value: 5, want: 5 },
    'a text': { value: ' 7 ', want: 7 },
    'a negative one': { value: -3, want: 0 },
    'one beyond 9': { value: 255, want: 9 },
    'a fraction': { value: 3.9, want: 3 },
    null: { value: null, want: 0 },
    NaN: { value: NaN, want: 0 },
    'a word': { value: 'high', want: 0 },
    'an object': { value: {}, want: 0 },
    'a huge integer': { value: 2n ** 70n, want: 9 },
    'a huge negative integer': { value: -(2n ** 70n), want: 0 },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`reads ${name}`, () => {
      expect(readPriority(tc.value)).to.equal(tc.want);
    });
  }

  it("takes the last step for a priority below the first, as Python's bisect does", () => {
    expect(priorityStep(0, [1, 5])).to.equal(5);
  });
});

describe('parseIsoTime', () => {
  const cases: Readonly<Record<string, { text: string; want: number | undefined }>> = {
    'microseconds, cut to milliseconds': { text: '1970-01-01T00:00:00.999999+00:00', want: 999 },
    'a blank for the T': { text: '1970-01-01 00:00:01', want: 1000 },
    'a day': { text: '1970-01-02', want: 86_400_000 },
    'the basic form': { text: '19700101T000001Z', want: 1000 },
    'a negative offset': { text: '1970-01-01T00:00:00-01:30', want: 5_400_000 },
    'an offset without a colon': { text: '1970-01-01T01:00:00+0100', want: 0 },
    '24:00, the next midnight': { text: '1970-01-01T24:00:00', want: 86_400_000 },
    'a year of two digits': { text: '0099-01-01', want: -59_042_995_200_000 },
    'a leap day': { text: '2024-02-29', want: Date.UTC(2024, 1, 29) },
    'a leap day in a year without': { text: '2025-02-29', want: undefined },
    'month 13': { text: '2025-13-01', want: undefined },
    'minute 60': { text: '2025-01-01T00:60', want: undefined },
    'second 60': { text: '2025-01-01T00:00:60', want: undefined },
    '24:01': { text: '2025-01-01T24:01', want: undefined },
    'year 0': { text: '0000-01-01', want: undefined },
    'an offset of a day': { text: '2025-01-01T00:00:00+24:00', want: undefined },
    'an empty text': { text: '', want: undefined },
    'a time zone by name': { text: '2025-01-01T00:00:00 UTC', want: undefined },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`reads ${name}`, () => {
      expect(parseIsoTime(tc.text)).to.equal(tc.want);
    });
  }

  it('reads what formatIsoTime writes', () => {
    for (const ms of [0, 1, 999, 1000, -1, -62_135_596_800_000, 253_402_300_799_999]) {
      expect(parseIsoTime(formatIsoTime(ms)), String(ms)).to.equal(ms);
    }
    for (const ms of [NaN, Infinity, -62_135_596_800_001, 253_402_300_800_000]) {
      expect(() => formatIsoTime(ms), String(ms)).to.throw('is not within the years 1 to 9999');
    }
  });
});

describe('reprArgs and reprValue', () => {
  const cases: Readonly<Record<string, { value: unknown; want: string }>> = {
    'a scalar each': {
      value: [1, 1.5, 'a', true, false, null, undefined, 2n ** 70n],
      want: "[1, 1.5, 'a', True, False, None, None, 1180591620717411303424]",
    },
    'numbers that are none': { value: [NaN, Infinity, -Infinity, -0], want: '[nan, inf, -inf, -0.0]' },
    'a quote': { value: "it's", want: "'it\\'s'" },
    'an object': { value: { a: 1, b: undefined, c: [] }, want: "{'a': 1, 'c': []}" },
    'three levels': { value: [[[[1]]]], want: '[[[[...]]]]' },
    'values of Python': { value: [new Decimal('1.1'), Buffer.from('abc')], want: "[Decimal('1.1'), <3 bytes>]" },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`shows ${name}`, () => {
      expect(reprValue(tc.value)).to.equal(tc.want);
    });
  }

  it('shows arguments as a tuple', () => {
    expect([reprArgs([]), reprArgs([1]), reprArgs([1, 2])]).to.deep.equal(['()', '(1,)', '(1, 2)']);
  });

  it('stops at the limit and closes what is open', () => {
    const numbers = Array.from({ length: 100_000 }, (_, i) => i);
    expect(reprArgs([numbers, 1])).to.match(/^\(\[0, 1, .{1000,1030}, \.\.\.\]\)$/s);
    expect(reprArgs(['x'.repeat(3000)])).to.equal(`('${'x'.repeat(1023)}...',)`);
    expect(reprArgs([`${'x'.repeat(500)} ${'y'.repeat(3000)}`])).to.equal(`('${'x'.repeat(500)}...',)`);
  });
});
