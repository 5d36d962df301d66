import { expect } from 'chai';
import fc from 'fast-check';
import type { MusterHeartbeat } from '../../../operator/fleet/heartbeat.ts';
import { poolActivity, type WorkerReport } from '../../../operator/fleet/activity.ts';

const nowMs = 100_000;
const report = (pod: string, more: Partial<WorkerReport> = {}): WorkerReport => ({
  hostname: `a@${pod}`,
  pod,
  receivedAtMs: nowMs - 1000,
  changedAtMs: nowMs - 5000,
  periodMs: 2000,
  active: 0,
  processed: 0,
  ...more,
});
const extra = (running: Record<string, number>, held: Record<string, number>, scheduled = 0): MusterHeartbeat => ({
  queues: [],
  running,
  held,
  scheduled,
  problems: [],
});

const doing = (running: number, changedAtMs = nowMs - 5000): object => ({
  ...{ kind: 'ok', running, held: 0, scheduled: 0, byQueue: {}, changedAtMs, silentPods: [] },
});

describe('poolActivity', () => {
  const cases: Record<string, { reports: WorkerReport[]; pods: string[]; want: object }> = {
    'a pool without pods does nothing': {
      reports: [],
      pods: [],
      want: doing(0, -Infinity),
    },
    'sums all pods, by queue': {
      reports: [
        report('p1', { active: 2, extra: extra({ q: 2 }, { q: 1, r: 1 }, 1) }),
        report('p2', { active: 1, extra: extra({ r: 1 }, {}, 2) }),
      ],
      pods: ['p1', 'p2'],
      want: {
        kind: 'ok',
        running: 3,
        held: 2,
        scheduled: 3,
        byQueue: { q: { running: 2, held: 1 }, r: { running: 1, held: 1 } },
        changedAtMs: nowMs - 5000,
        silentPods: [],
      },
    },
    'a worker without the file of Muster counts by what Celery says': {
      reports: [report('p1', { active: 3 })],
      pods: ['p1'],
      want: doing(3),
    },
    'two workers in one pod are both counted': {
      reports: [report('p1', { active: 1 }), report('p1', { hostname: 'b@p1', active: 1 })],
      pods: ['p1'],
      want: doing(2),
    },
    'the larger of two counts is true, they are a moment apart': {
      reports: [report('p1', { active: 1, extra: extra({ q: 2 }, {}) })],
      pods: ['p1'],
      want: { ...doing(2), byQueue: { q: { running: 2, held: 0 } } },
    },
    'its newest change is the one heard last': {
      reports: [report('p1', { changedAtMs: nowMs - 3000 }), report('p2', { changedAtMs: nowMs - 4000 })],
      pods: ['p1', 'p2'],
      want: doing(0, nowMs - 3000),
    },
    'other pods do not count': {
      reports: [report('p1'), report('gone', { active: 9 })],
      pods: ['p1'],
      want: doing(0),
    },
    'one silent pod makes it unknown, not smaller': {
      reports: [report('p1', { active: 2 }), report('p2', { receivedAtMs: nowMs - 12_000 })],
      pods: ['p1', 'p2'],
      want: {
        kind: 'unknown',
        why: 'no heartbeat from the worker in pod p2 for 12 s',
        silentPods: ['p2'],
        atLeast: { running: 2, held: 0, scheduled: 0, changedAtMs: nowMs - 5000 },
      },
    },
    'what the pods that were heard do is a lower bound; what a silent one said last is not in it': {
      reports: [
        report('p1', { active: 2, extra: extra({ q: 2 }, { q: 3 }, 1), changedAtMs: nowMs - 3000 }),
        report('p2', { active: 4, receivedAtMs: nowMs - 12_000, changedAtMs: nowMs - 2000 }),
        report('gone', { active: 9, changedAtMs: nowMs - 1000 }),
      ],
      pods: ['p1', 'p2'],
      want: {
        kind: 'unknown',
        why: 'no heartbeat from the worker in pod p2 for 12 s',
        silentPods: ['p2'],
        atLeast: { running: 2, held: 3, scheduled: 1, changedAtMs: nowMs - 3000 },
      },
    },
    'a pod that was never heard is silent': {
      reports: [],
      pods: ['p1', 'p2', 'p3'],
      want: {
        kind: 'unknown',
        why: 'no heartbeat from the worker in pod p1 yet, nor from 2 more',
        silentPods: ['p1', 'p2', 'p3'],
        atLeast: { running: 0, held: 0, scheduled: 0, changedAtMs: -Infinity },
      },
    },
    'a worker that speaks rarely is silent later': {
      reports: [report('p1', { periodMs: 20_000, receivedAtMs: nowMs - 50_000 })],
      pods: ['p1'],
      want: doing(0),
    },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(name, () => expect(poolActivity(tc.reports, tc.pods, nowMs)).to.deep.equal(tc.want));
  }

  it('is never known with a silent pod, and counts every task of the others either way', () => {
    const pod = fc.record({ age: fc.nat(30_000), active: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(pod, { maxLength: 20 }), (each) => {
        const reports = each.map(({ age, active }, i) => report(`p${i}`, { active, receivedAtMs: nowMs - age }));
        const got = poolActivity(
          reports,
          reports.map((r) => r.pod),
          nowMs,
        );
        const silent = each.filter(({ age }) => age > 10_000).length;
        expect(got.silentPods).to.have.length(silent);
        expect(got.kind).to.equal(silent > 0 ? 'unknown' : 'ok');
        const heard = each.filter(({ age }) => age <= 10_000).reduce((sum, { active }) => sum + active, 0);
        expect(got.kind === 'ok' ? got.running : got.atLeast.running).to.equal(heard);
      }),
    );
  });
});
