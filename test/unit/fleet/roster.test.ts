import { expect } from 'chai';
import type { WorkerMessage } from '../../../operator/fleet/heartbeat.ts';
import { createRoster, forgetAfterMs } from '../../../operator/fleet/roster.ts';

type Heartbeat = Extract<WorkerMessage, { kind: 'heartbeat' }>;
const beat = (hostname: string, active = 0, pool?: string): Heartbeat => ({
  kind: 'heartbeat',
  hostname,
  active,
  processed: 0,
  periodMs: 2000,
  ...(pool === undefined ? {} : { extra: { pool, queues: [], running: {}, held: {}, scheduled: 0, problems: [] } }),
});

describe('createRoster', () => {
  it('has news when a worker appears or does something else, not when it repeats itself', () => {
    const roster = createRoster();
    expect(roster.heard(beat('a@p1'), 0)).to.include({ pod: 'p1', active: 0 });
    expect(roster.heard({ ...beat('a@p1'), processed: 5 }, 2000)).to.equal('unchanged');
    expect(roster.heard(beat('a@p1', 1), 4000)).to.include({ active: 1 });
    expect(roster.ofPool('shop/a', [])[0]).to.include({ receivedAtMs: 4000, active: 1 });
    roster.heard(beat('a@p1', 1), 6000);
    expect(roster.ofPool('shop/a', [])[0]).to.include({ receivedAtMs: 6000, changedAtMs: 4000 });
  });

  it('has news when a worker falls silent, once, and when it is heard again', () => {
    const roster = createRoster();
    roster.heard(beat('a@p1'), 0);
    expect(roster.sweep(10_000)).to.deep.equal([]);
    expect(roster.sweep(11_000).map(({ pod }) => pod)).to.deep.equal(['p1']);
    expect(roster.sweep(12_000)).to.deep.equal([]);
    expect(roster.heard(beat('a@p1'), 13_000)).to.include({ pod: 'p1' });
  });

  it('forgets a worker that was silent for ten minutes, and one that says that it ends', () => {
    const roster = createRoster();
    roster.heard(beat('a@p1'), 0);
    roster.heard(beat('a@p2'), 0);
    expect(roster.offline('a@p2')).to.include({ pod: 'p2' });
    expect(roster.offline('a@p2')).to.equal(undefined);
    roster.sweep(forgetAfterMs + 1);
    expect(roster.size).to.equal(0);
    expect(roster.ofPool('shop/a', ['p1', 'p2'])).to.deep.equal([]);
  });

  it('keeps no more workers than its cap, and those it knows go on', () => {
    const roster = createRoster(2);
    for (const pod of ['p1', 'p2']) roster.heard(beat(`a@${pod}`), 0);
    expect(roster.heard(beat('a@p3'), 1)).to.equal('full');
    expect(roster.heard(beat('a@p1', 1), 1)).to.include({ pod: 'p1' });
    expect(roster.size).to.equal(2);
  });

  it('finds workers by what they say, by their node name, and by their pod', () => {
    const roster = createRoster();
    roster.heard(beat('a@says-so', 0, 'shop/a'), 0);
    roster.heard(beat('a@of-another-namespace', 0, 'bank/a'), 0);
    roster.heard(beat('a@by-name'), 0);
    roster.heard(beat('celery@by-pod'), 0);
    const pods = (pool: string, names: string[]): string[] => roster.ofPool(pool, names).map(({ pod }) => pod);
    expect(pods('shop/a', [])).to.deep.equal(['says-so', 'by-name']);
    expect(pods('shop/a', ['by-pod', 'of-another-namespace'])).to.deep.equal(['says-so', 'by-name', 'by-pod']);
    expect(pods('bank/a', [])).to.deep.equal(['of-another-namespace', 'by-name']);
    expect(pods('shop/b', ['by-pod'])).to.deep.equal(['by-pod']);
  });

  it('moves a worker that begins to say whose it is', () => {
    const roster = createRoster();
    roster.heard(beat('a@p1'), 0);
    roster.heard(beat('a@p1', 0, 'bank/a'), 1);
    expect(roster.ofPool('shop/a', [])).to.deep.equal([]);
    expect(roster.ofPool('bank/a', [])).to.have.length(1);
  });
});
