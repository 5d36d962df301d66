import { expect } from 'chai';
import { errorFromResponse, kindOf, orUndefined, parseRetryAfter, KubeError } from '../../../operator/kube/errors.ts';

describe('KubeError', () => {
  const table: Record<string, { status: number; reason?: string; want: string }> = {
    'not found': { status: 404, reason: 'NotFound', want: 'notFound' },
    'a write on an old version': { status: 409, reason: 'Conflict', want: 'conflict' },
    'a create of what exists': { status: 409, reason: 'AlreadyExists', want: 'alreadyExists' },
    'a refused value': { status: 422, reason: 'Invalid', want: 'invalid' },
    'an old version, HTTP form': { status: 410, reason: 'Expired', want: 'expired' },
    'an old version, other reason': { status: 410, reason: 'Gone', want: 'expired' },
    'a bad token': { status: 401, want: 'unauthorized' },
    'no permission': { status: 403, reason: 'Forbidden', want: 'forbidden' },
    throttled: { status: 429, want: 'tooManyRequests' },
    'a broken server': { status: 500, want: 'unavailable' },
    'a proxy without a server': { status: 502, want: 'unavailable' },
    'a server that took too long': { status: 504, reason: 'Timeout', want: 'timeout' },
    'a media type': { status: 415, want: 'badRequest' },
  };
  for (const [name, tc] of Object.entries(table)) {
    it(`${name} is ${tc.want}`, () => {
      expect(kindOf(tc.status, tc.reason)).to.equal(tc.want);
    });
  }

  it("carries the server's own words, reason, causes and patience", () => {
    const body = {
      kind: 'Status',
      message: 'slow down',
      reason: 'TooManyRequests',
      details: { retryAfterSeconds: 7, causes: [{ reason: 'Flood' }, { message: 'no reason' }] },
    };
    const error = errorFromResponse('GET /x', 429, JSON.stringify(body));
    expect(error).to.include({ kind: 'tooManyRequests', reason: 'TooManyRequests', retryAfterMs: 7000, status: 429 });
    expect(error.causes).to.deep.equal(['Flood']);
    expect(error.message).to.equal('GET /x: slow down');
  });

  it('quotes the beginning of an answer that is no Status', () => {
    const error = errorFromResponse('GET /x', 502, `<html>${'x'.repeat(1000)}`);
    expect(error.message).to.have.length.below(400).and.to.contain('<html>xxx');
    expect(errorFromResponse('GET /x', 503, '').message).to.equal('GET /x: the server answered 503');
  });

  it('reads Retry-After in seconds and ignores what it cannot read', () => {
    expect(parseRetryAfter('12')).to.equal(12_000);
    for (const header of [undefined, '', 'soon', '-1', '1.5', 'Wed, 21 Oct 2026 07:28:00 GMT']) {
      expect(parseRetryAfter(header)).to.equal(undefined);
    }
  });

  it('orUndefined turns absence, and nothing else, into undefined', async () => {
    expect(await orUndefined(Promise.resolve(1))).to.equal(1);
    const absent = await orUndefined<number>(Promise.reject(new KubeError('notFound', 'GET /x', 'no')));
    expect(absent).to.equal(undefined);
    const other = await orUndefined(Promise.reject(new KubeError('forbidden', 'GET /x', 'no'))).catch(
      (err: unknown) => err,
    );
    expect(other).to.be.instanceOf(KubeError);
  });
});
