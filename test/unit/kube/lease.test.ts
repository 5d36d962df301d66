import { expect } from 'chai';
import { createLeaderElection } from '../../../operator/kube/lease.ts';
import { buildHeldSpec, buildReleasedSpec, heldForMs, observeLease } from '../../../operator/kube/leaseRecord.ts';
import type { RawLease } from '../../../operator/kube/types.ts';

const lease = (spec: RawLease['spec']): RawLease => ({
  metadata: { name: 'l', namespace: 'ns' },
  ...(spec && { spec }),
});
const held = { holderIdentity: 'a', leaseDurationSeconds: 5, renewTime: '2026-01-01T00:00:00.000000Z' };

describe('lease record', () => {
  it('runs from when this process first saw it, whatever its times say', () => {
    const first = observeLease(undefined, lease({ ...held, renewTime: '1999-01-01T00:00:00.000000Z' }), 1000);
    expect(heldForMs(first, 1000)).to.equal(5000);
    const again = observeLease(first, lease({ ...held, renewTime: '1999-01-01T00:00:00.000000Z' }), 4000);
    expect(heldForMs(again, 4000)).to.equal(2000, 'seeing the same record again does not renew it');
    const renewed = observeLease(again, lease(held), 5000);
    expect(heldForMs(renewed, 5000)).to.equal(5000);
    expect(heldForMs(renewed, 10_001)).to.equal(0);
  });

  it('is free when nobody holds it, or it says nothing', () => {
    for (const spec of [undefined, {}, { ...held, holderIdentity: '' }]) {
      expect(heldForMs(observeLease(undefined, lease(spec), 0), 0)).to.equal(0);
    }
  });

  it('counts a transition when the holder changes, and keeps the time of acquiring when it does not', () => {
    const taken = buildHeldSpec({ ...held, leaseTransitions: 3 }, 'b', 5000, 0);
    expect(taken).to.include({ holderIdentity: 'b', leaseTransitions: 4, leaseDurationSeconds: 5 });
    const kept = buildHeldSpec(taken, 'b', 5000, 1000);
    expect(kept).to.include({ leaseTransitions: 4, acquireTime: taken.acquireTime });
    expect(kept.renewTime).to.equal('1970-01-01T00:00:01.000000Z', 'microseconds, which the API server insists on');
    expect(buildHeldSpec(undefined, 'b', 5000, 0).leaseTransitions).to.equal(0);
    expect(buildReleasedSpec(taken, 0)).to.include({
      holderIdentity: '',
      leaseDurationSeconds: 1,
      leaseTransitions: 4,
    });
  });

  it('refuses times with which two could lead', () => {
    const build = (leaseMs: number, renewMs: number, retryMs: number) => () =>
      createLeaderElection({ leaseMs, renewMs, retryMs } as Parameters<typeof createLeaderElection>[0]);
    expect(build(5000, 5000, 1000)).to.throw('lease times');
    expect(build(5000, 3000, 2900)).to.throw('lease times');
    expect(build(5500, 3000, 1000)).to.throw('lease times', 'a Lease counts in whole seconds');
  });
});
