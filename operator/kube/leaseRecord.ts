/**
 * What a Lease says and who may take it, as pure functions. The trap that others fall into is to compare the record's
 * `renewTime` with the local clock: two machines' clocks differ, and a leader that lives would be robbed. Only the time
 * since this process first saw this very record counts.
 */
import { microTime } from './time.ts';
import type { RawLease } from './types.ts';

/** A lease as last read, and when this content was first seen (monotonic milliseconds of this process). */
export interface ObservedLease {
  readonly lease: RawLease;
  readonly observedMs: number;
}

/** Keeps the time of the first sight while the content stays the same. */
export function observeLease(before: ObservedLease | undefined, lease: RawLease, nowMs: number): ObservedLease {
  const isSame = before !== undefined && JSON.stringify(before.lease.spec) === JSON.stringify(lease.spec);
  return { lease, observedMs: isSame ? before.observedMs : nowMs };
}

/** Milliseconds until others may take the lease; 0 when they may now. */
export function heldForMs(observed: ObservedLease, nowMs: number): number {
  const { holderIdentity, leaseDurationSeconds } = observed.lease.spec ?? {};
  if (holderIdentity === undefined || holderIdentity === '') return 0;
  return Math.max(0, observed.observedMs + (leaseDurationSeconds ?? 0) * 1000 - nowMs);
}

/** The spec with which `identity` takes or keeps the lease. */
export function buildHeldSpec(
  before: RawLease['spec'],
  identity: string,
  leaseMs: number,
  nowEpochMs: number,
): NonNullable<RawLease['spec']> {
  const now = microTime(nowEpochMs);
  const isMine = before?.holderIdentity === identity;
  return {
    holderIdentity: identity,
    leaseDurationSeconds: Math.ceil(leaseMs / 1000),
    acquireTime: isMine ? (before.acquireTime ?? now) : now,
    renewTime: now,
    leaseTransitions: (before?.leaseTransitions ?? 0) + (isMine || before === undefined ? 0 : 1),
  };
}

/** The spec of a lease given back: nobody's, so that the next one need not wait. */
export function buildReleasedSpec(before: RawLease['spec'], nowEpochMs: number): NonNullable<RawLease['spec']> {
  const now = microTime(nowEpochMs);
  return {
    holderIdentity: '',
    leaseDurationSeconds: 1,
    acquireTime: now,
    renewTime: now,
    leaseTransitions: before?.leaseTransitions ?? 0,
  };
}
