/** Whether and when a task runs again. */
import { expect } from 'chai';
import type { TaskOptions } from '../../../../worker/task/define.ts';
import { Retry } from '../../../../worker/task/errors.ts';
import { decideRetry, type RetryDecision } from '../../../../worker/task/retry.ts';

class Flaky extends Error {
  override readonly name: string = 'Flaky';
}
class VeryFlaky extends Flaky {}

interface Case {
  readonly error: unknown;
  readonly options?: TaskOptions;
  readonly retries?: number;
  readonly random?: number;
  readonly want: RetryDecision;
}

const in_ = (delaySeconds: number): RetryDecision => ({ kind: 'retry', delaySeconds });
const backoff: TaskOptions = { autoretryFor: true, maxRetries: 100, retryBackoffSeconds: 2, retryJitter: false };

const cases: Readonly<Record<string, Case>> = {
  'an error that nobody asked to retry fails': { error: new Flaky(), want: { kind: 'fail' } },
  'a task that asks is retried after its default delay': { error: new Retry(), want: in_(180) },
  'the delay that is asked for wins': { error: new Retry('', { delaySeconds: 5 }), options: backoff, want: in_(5) },
  'a negative delay is none': { error: new Retry('', { delaySeconds: -5 }), want: in_(0) },
  'a delay that is no number of seconds is passed on': {
    error: new Retry('', { delaySeconds: -Infinity }),
    want: in_(-Infinity),
  },
  'the third retry is the last that a default task gets': { error: new Retry(), retries: 2, want: in_(180) },
  'a task that asks once more is exhausted': { error: new Retry(), retries: 3, want: { kind: 'exhausted' } },
  'a task without retries is exhausted at once': {
    error: new Retry(),
    options: { maxRetries: 0 },
    want: { kind: 'exhausted' },
  },
  'an error of a listed class is retried': {
    error: new VeryFlaky(),
    options: { autoretryFor: [Flaky] },
    want: in_(180),
  },
  'an error of a listed name is retried': {
    error: new Flaky(),
    options: { autoretryFor: ['Flaky'], retryDelaySeconds: 1 },
    want: in_(1),
  },
  'an error of another class fails': {
    error: new Error('x'),
    options: { autoretryFor: [Flaky] },
    want: { kind: 'fail' },
  },
  'an automatic retry that is used up fails with its own error': {
    error: new Flaky(),
    options: { autoretryFor: true },
    retries: 3,
    want: { kind: 'fail' },
  },
  'what is thrown and no error is not retried by itself': { error: 'x', options: backoff, want: { kind: 'fail' } },
  'the backoff begins with its first step': { error: new Flaky(), options: backoff, want: in_(2) },
  'the backoff doubles': { error: new Flaky(), options: backoff, retries: 3, want: in_(16) },
  'the backoff ends at ten minutes': { error: new Flaky(), options: backoff, retries: 60, want: in_(600) },
  'jitter takes a part of the backoff': {
    error: new Flaky(),
    options: { ...backoff, retryJitter: true },
    retries: 3,
    random: 0.25,
    want: in_(4),
  },
};

describe('decideRetry', () => {
  for (const [name, { error, options = {}, retries = 0, random = 1, want }] of Object.entries(cases)) {
    it(name, () => expect(decideRetry(error, options, retries, random)).to.deep.equal(want));
  }
});
