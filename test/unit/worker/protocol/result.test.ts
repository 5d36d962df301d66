import { expect } from 'chai';
import fc from 'fast-check';
import {
  describeError,
  formatTraceback,
  parseFailure,
  RemoteTaskError,
  type Failure,
} from '../../../../worker/protocol/failure.ts';
import {
  buildResultMeta,
  groupTuple,
  parseResultMeta,
  readTuple,
  resultTuple,
} from '../../../../worker/protocol/result.ts';
import { asRead } from './asRead.ts';

const dateDoneMs = 1_795_322_484_771;

describe('buildResultMeta', () => {
  it('writes what Celery writes, in its order', () => {
    const json = buildResultMeta({
      taskId: 'i',
      status: 'SUCCESS',
      result: 5,
      dateDoneMs,
      groupId: 'g',
      parentId: 'p',
    });
    expect(json).to.equal(
      '{"status":"SUCCESS","result":5,"traceback":null,"children":[],"date_done":"2026-11-22T04:41:24.771000+00:00","group_id":"g","parent_id":"p","task_id":"i"}',
    );
  });

  it('writes no end for a state that is none', () => {
    for (const status of ['STARTED', 'RETRY', 'PROGRESS', 'PENDING']) {
      expect(buildResultMeta({ taskId: 'i', status, result: null, dateDoneMs }), status).to.include('"date_done":null');
    }
  });

  it('writes the fields of extended results, and they are read again', () => {
    const extended = { name: 't', args: [1], worker: 'w@h', retries: 0, queue: 'q' };
    const parsed = parseResultMeta(buildResultMeta({ taskId: 'i', status: 'SUCCESS', result: 1, extended }));
    expect(parsed.kind === 'ok' ? parsed.value.extended : parsed.why).to.deep.equal(extended);
  });

  it('refuses a result that JSON cannot hold', () => {
    const build = (): string => buildResultMeta({ taskId: 'i', status: 'SUCCESS', result: { f: () => 1 } });
    expect(build).to.throw('the result.f is a function, which JSON cannot hold');
  });

  it('writes what parseResultMeta reads', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.jsonValue(), fc.nat(), (taskId, result, ms) => {
        const meta = { taskId, status: 'SUCCESS', result, dateDoneMs: ms, children: [resultTuple('child')] };
        const parsed = parseResultMeta(buildResultMeta(meta));
        expect(parsed.kind === 'ok' ? parsed.value : parsed.why).to.deep.include({ ...meta, result: asRead(result) });
      }),
    );
  });
});

describe('parseResultMeta', () => {
  const bad: Readonly<Record<string, { raw: string; want: string }>> = {
    'no JSON': { raw: 'x', want: 'the result is not JSON: a value is missing at position 0' },
    'a list': { raw: '[]', want: 'the result is not an object' },
    'no status': { raw: '{"task_id": "i"}', want: 'the result has no status' },
    'no id': { raw: '{"status": "SUCCESS"}', want: 'the result has no task_id' },
    'a failure that is a text': {
      raw: '{"status": "FAILURE", "task_id": "i", "result": "x"}',
      want: 'the failure is not an object',
    },
    'a failure without a type': {
      raw: '{"status": "FAILURE", "task_id": "i", "result": {}}',
      want: 'the failure names no exc_type',
    },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`refuses ${name}`, () => {
      expect(parseResultMeta(tc.raw)).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }

  it('reads the end of a task of 5.3, which has no offset, as UTC', () => {
    const parsed = parseResultMeta('{"status": "SUCCESS", "task_id": "i", "date_done": "1970-01-01T00:00:01.5"}');
    expect(parsed.kind === 'ok' ? parsed.value.dateDoneMs : parsed.why).to.equal(1500);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom('SUCCESS', 'FAILURE', 'X'), (json, status) => {
        const raw = `{"status": "${status}", "task_id": "i", "result": ${json}, "children": ${json}, "date_done": ${json}}`;
        expect(parseResultMeta(raw).kind).to.be.oneOf(['ok', 'malformed']);
      }),
    );
  });
});

describe('readTuple', () => {
  const cases: Readonly<Record<string, { value: unknown; want: unknown }>> = {
    'a task': { value: [['a', null], null], want: resultTuple('a') },
    'a task of old Celery': { value: ['a', null], want: resultTuple('a') },
    'a group': { value: [['g', null], [[['a', null], null]]], want: groupTuple('g', [resultTuple('a')]) },
    'a parent': { value: [['b', [['a', null], null]], null], want: [['b', resultTuple('a')], null] },
    'a text': { value: 'a', want: undefined },
    'a list of one': { value: [['a', null]], want: undefined },
    'an id that is a number': { value: [[1, null], null], want: undefined },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`reads ${name}`, () => {
      expect(readTuple(tc.value)).to.deep.equal(tc.want);
    });
  }
});

class PaymentError extends Error {}

describe('describeError', () => {
  const python = (excType: unknown, excModule: unknown, excArgs?: unknown): Error =>
    Object.assign(new Error('shown'), { python: { excType, excModule, excArgs } });
  const cases: Readonly<Record<string, { thrown: unknown; want: Failure }>> = {
    'an Error': {
      thrown: new Error('bad'),
      want: { exc_type: 'Error', exc_message: ['bad'], exc_module: 'javascript' },
    },
    'a TypeError': {
      thrown: new TypeError('bad'),
      want: { exc_type: 'TypeError', exc_message: ['bad'], exc_module: 'builtins' },
    },
    'a ReferenceError': {
      thrown: new ReferenceError('x'),
      want: { exc_type: 'NameError', exc_message: ['x'], exc_module: 'builtins' },
    },
    'a RangeError': {
      thrown: new RangeError('x'),
      want: { exc_type: 'RangeError', exc_message: ['x'], exc_module: 'javascript' },
    },
    'a class of its own': {
      thrown: new PaymentError('declined'),
      want: { exc_type: 'PaymentError', exc_message: ['declined'], exc_module: 'javascript' },
    },
    'a name that is no name in Python': {
      thrown: Object.assign(new Error('x'), { name: 'not a name\0' }),
      want: { exc_type: 'Error', exc_message: ['x'], exc_module: 'javascript' },
    },
    'a text': { thrown: 'oops', want: { exc_type: 'Error', exc_message: ['oops'], exc_module: 'javascript' } },
    undefined: { thrown: undefined, want: { exc_type: 'Error', exc_message: ['undefined'], exc_module: 'javascript' } },
    null: { thrown: null, want: { exc_type: 'Error', exc_message: ['null'], exc_module: 'javascript' } },
    'an object': {
      thrown: { code: 1 },
      want: { exc_type: 'Error', exc_message: ['{"code":1}'], exc_module: 'javascript' },
    },
    'a symbol': {
      thrown: Symbol('s'),
      want: { exc_type: 'Error', exc_message: ['Symbol(s)'], exc_module: 'javascript' },
    },
    'an object that has no JSON': {
      thrown: { n: 1n },
      want: { exc_type: 'Error', exc_message: ['[object Object]'], exc_module: 'javascript' },
    },
    'an error that says what it is in Python': {
      thrown: python('KeyError', 'builtins', ['k', 2n ** 70n, Symbol('s')]),
      want: { exc_type: 'KeyError', exc_message: ['k', 2n ** 70n, 'Symbol(s)'], exc_module: 'builtins' },
    },
    'an error that says it badly': {
      thrown: python('os.system(', 'os'),
      want: { exc_type: 'Error', exc_message: ['shown'], exc_module: 'javascript' },
    },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`describes ${name}`, () => {
      expect(describeError(tc.thrown)).to.deep.equal(tc.want);
    });
  }

  it('gives back the exception of another task that came through', () => {
    const failure: Failure = { exc_type: 'ValueError', exc_message: ['bad', 2], exc_module: 'builtins' };
    const error = new RemoteTaskError(failure, 'Traceback …');
    expect(error.message).to.equal('ValueError: bad, 2');
    expect(describeError(error)).to.deep.equal(failure);
  });
});

describe('parseFailure', () => {
  it('reads a message that is a single text, and a module that is missing', () => {
    expect(parseFailure({ exc_type: 'E', exc_message: 'bad' })).to.deep.equal({
      kind: 'ok',
      value: { exc_type: 'E', exc_message: ['bad'], exc_module: 'celery.exceptions' },
    });
  });
});

describe('formatTraceback', () => {
  it('is a Python traceback: the innermost call last, the cause first', () => {
    const cause = new RangeError('first');
    cause.stack = 'RangeError: first\n    at inner (file:///app/a.ts:1:2)\n    at async /app/b.ts:3:4';
    const error = new PaymentError('second', { cause });
    error.stack = 'Error: second\n    at Object.run (/app/c.ts:5:6)';
    expect(formatTraceback(error)).to.equal(
      [
        'Traceback (most recent call last):',
        '  File "/app/b.ts", line 3, in <anonymous>',
        '  File "/app/a.ts", line 1, in inner',
        'RangeError: first',
        '',
        'The above exception was the direct cause of the following exception:',
        '',
        'Traceback (most recent call last):',
        '  File "/app/c.ts", line 5, in Object.run',
        'PaymentError: second',
        '',
      ].join('\n'),
    );
  });

  it('ends with a circle of causes, and with anything that is thrown', () => {
    const error = new Error('round');
    error.cause = error;
    expect(formatTraceback(error).split('direct cause').length).to.equal(10);
    expect(formatTraceback(7)).to.equal('Traceback (most recent call last):\nError: 7\n');
  });
});
