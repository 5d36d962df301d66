import { expect } from 'chai';
import { KubeError, type KubeErrorKind } from '../../../operator/kube/errors.ts';
import { decideRetry, type FailedTry } from '../../../operator/kube/retry.ts';

const limits = { maxRetries: 3, baseMs: 100, maxRetryAfterMs: 10_000 };

const failed = (kind: KubeErrorKind, rest: Partial<FailedTry> = {}, retryAfterMs?: number): FailedTry => ({
  error: new KubeError(kind, 'GET /x', 'no', { retryAfterMs }),
  idempotent: true,
  sent: true,
  retriesDone: 0,
  ...rest,
});

describe('decideRetry', () => {
  const table: Record<string, { failed: FailedTry; random?: number; wantMs: number | undefined }> = {
    'an idempotent request after a reset': { failed: failed('transport'), wantMs: 100 },
    'a create after a reset: it may have happened': {
      failed: failed('transport', { idempotent: false }),
      wantMs: undefined,
    },
    'a create after a refused connection': {
      failed: failed('transport', { idempotent: false, sent: false }),
      wantMs: 100,
    },
    'an idempotent request after a 5xx': { failed: failed('unavailable'), wantMs: 100 },
    'a create after a 5xx': { failed: failed('unavailable', { idempotent: false }), wantMs: undefined },
    'a create after a 429: nothing was done': {
      failed: failed('tooManyRequests', { idempotent: false }),
      wantMs: 100,
    },
    'the server names a time': { failed: failed('tooManyRequests', {}, 3000), wantMs: 3000 },
    'the server names a time shorter than the backoff': {
      failed: failed('tooManyRequests', { retriesDone: 2 }, 50),
      wantMs: 400,
    },
    'the server names a time beyond the limit': { failed: failed('tooManyRequests', {}, 10_001), wantMs: undefined },
    'an idempotent request out of time': { failed: failed('timeout'), wantMs: 100 },
    'a create out of time': { failed: failed('timeout', { idempotent: false }), wantMs: undefined },
    'the second failure waits twice as long': { failed: failed('unavailable', { retriesDone: 1 }), wantMs: 200 },
    'the jitter adds up to as much again': { failed: failed('unavailable'), random: 0.5, wantMs: 150 },
    'the last retry is used up': { failed: failed('unavailable', { retriesDone: 3 }), wantMs: undefined },
    ...Object.fromEntries(
      (
        [
          'notFound',
          'conflict',
          'alreadyExists',
          'invalid',
          'forbidden',
          'unauthorized',
          'expired',
          'badRequest',
          'aborted',
        ] as const
      ).map((kind) => [`${kind} is an answer`, { failed: failed(kind), wantMs: undefined }]),
    ),
  };
  for (const [name, tc] of Object.entries(table)) {
    it(name, () => {
      expect(decideRetry(tc.failed, limits, tc.random ?? 0)).to.equal(tc.wantMs);
    });
  }

  it('does not try a list again whose version is from the future: only another list helps', () => {
    const error = new KubeError('timeout', 'GET /x', 'no', { status: 504, causes: ['ResourceVersionTooLarge'] });
    expect(decideRetry({ error, idempotent: true, sent: true, retriesDone: 0 }, limits, 0)).to.equal(undefined);
  });
});
