import { expect } from 'chai';
import fc from 'fast-check';
import { createFreshness, isAtLeast } from '../../../operator/runtime/freshness.ts';
import { createRateLimiter } from '../../../operator/runtime/ratelimit.ts';
import { createSteppedClock } from '../../support/steppedClock.ts';

const pods = { group: '', plural: 'pods' };
const deployments = { group: 'apps', plural: 'deployments' };
const cache = (resource: typeof pods, version: string | undefined) => ({ resource, resourceVersion: () => version });

describe('freshness', () => {
  const build = () => {
    const clock = createSteppedClock();
    return { clock, freshness: createFreshness({ clock, timeoutMs: 5000 }) };
  };

  it('holds a key back until the cache has reached what was written', () => {
    const { freshness } = build();
    freshness.wrote('a', deployments, '100');
    expect(freshness.isFresh('a', [cache(deployments, '99')])).to.equal(false);
    expect(freshness.isFresh('b', [cache(deployments, '99')])).to.equal(true, 'another key is not concerned');
    expect(freshness.isFresh('a', [cache(deployments, '100')])).to.equal(true);
    expect(freshness.isFresh('a', [cache(deployments, '1')])).to.equal(true, 'seen once is enough');
  });

  it('looks at each kind by itself', () => {
    const { freshness } = build();
    freshness.wrote('a', deployments, '100');
    freshness.wrote('a', pods, '50');
    expect(freshness.isFresh('a', [cache(deployments, '100'), cache(pods, '49')])).to.equal(false);
    expect(freshness.isFresh('a', [cache(deployments, '100'), cache(pods, '51')])).to.equal(true);
  });

  it('remembers the newest write: an apply that changed nothing answers with an older version', () => {
    const { freshness } = build();
    freshness.wrote('a', deployments, '100');
    freshness.wrote('a', deployments, '90');
    expect(freshness.isFresh('a', [cache(deployments, '95')])).to.equal(false);
  });

  it('gives up waiting after its time, and forgets on request', async () => {
    const { freshness, clock } = build();
    freshness.wrote('a', deployments, '100');
    await clock.step(4999);
    expect(freshness.isFresh('a', [cache(deployments, undefined)])).to.equal(false);
    await clock.step(1);
    expect(freshness.isFresh('a', [cache(deployments, undefined)])).to.equal(true);
    freshness.wrote('a', deployments, '200');
    freshness.forget('a');
    expect(freshness.isFresh('a', [cache(deployments, '1')])).to.equal(true);
  });

  it('compares versions as integers of any length, and lets pass what is none', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 80n }), fc.bigInt({ min: 0n, max: 2n ** 80n }), (a, b) => {
        expect(isAtLeast(String(a), String(b))).to.equal(a >= b);
      }),
    );
    expect(isAtLeast('9', '10')).to.equal(false);
    expect(isAtLeast('opaque', '10')).to.equal(true);
  });
});

describe('rate limiter', () => {
  it('doubles per key to its top, without overflow', () => {
    const limiter = createRateLimiter({ baseMs: 5, maxMs: 60_000 });
    const waits = Array.from({ length: 2000 }, () => limiter.nextMs('a'));
    expect(waits.slice(0, 4)).to.deep.equal([5, 10, 20, 40]);
    expect(waits.at(-1)).to.equal(60_000);
    expect(limiter.nextMs('b')).to.equal(5);
  });
});
