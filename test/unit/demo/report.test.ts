import { expect } from 'chai';
import { stripVTControlCharacters } from 'node:util';
import { closingLines, jsonReport, reportLines, type Report } from '../../../dev/demo/report.ts';
import type { Summary } from '../../../dev/demo/results.ts';
import { inWords, liveLines, plainLine } from '../../../dev/demo/view.ts';

function makeSummary(changes: Partial<Summary> = {}): Summary {
  return {
    tasks: 1000,
    shortWaitSeconds: { p50: 0.00812345, p99: 2.4812345 },
    longWaitSeconds: { p50: 0.0081, p99: 2.9 },
    tasksPerSecond: 22.98765,
    drainSeconds: 3.6,
    ...changes,
  };
}

function makeReport(changes: Partial<Report> = {}): Report {
  return {
    kubernetes: 'v1.34.4',
    celery: '5.6.3',
    onePool: makeSummary(),
    twoPools: makeSummary({ shortWaitSeconds: { p50: 0.004, p99: 0.031 }, longWaitSeconds: { p50: 0.05, p99: 1.74 } }),
    ...changes,
  };
}

const plainText = (lines: readonly string[]) => lines.map(stripVTControlCharacters).join('\n');

describe('the JSON of the demo', () => {
  it('has these keys and no other, and numbers without noise', () => {
    expect(jsonReport(makeReport())).to.equal(
      '{"kubernetes":"v1.34.4","celery":"5.6.3","tasks":1000,' +
        '"onePool":{"shortWaitSeconds":{"p50":0.0081,"p99":2.4812},"tasksPerSecond":22.99},' +
        '"twoPools":{"shortWaitSeconds":{"p50":0.004,"p99":0.031},"tasksPerSecond":22.99}}',
    );
  });
});

describe('the table of the demo', () => {
  it('says how many times shorter, how many times longer, and when the difference is chance', () => {
    const text = plainText(reportLines(makeReport()));
    expect(text).to.match(/short tasks: wait, p50 +8 ms +4 ms +about the same\n/);
    expect(text).to.match(/short tasks: wait, p99 +2\.48 s +31 ms +80 times shorter\n/);
    expect(text).to.match(/long tasks: {2}wait, p50 +8 ms +50 ms +6\.2 times longer\n/);
    expect(text).to.match(/long tasks: {2}wait, p99 +2\.90 s +1\.74 s +1\.7 times shorter\n/);
  });

  it('says when two pools were no better', () => {
    const report = makeReport({ twoPools: makeSummary({ shortWaitSeconds: { p50: 1, p99: 5 } }) });
    expect(plainText(reportLines(report))).to.contain('start within 5.00 s instead of 2.48 s: 2.0 times later.');
  });

  it('says when the machine was too busy for the load', () => {
    const warning = 'did not keep up';
    expect(plainText(reportLines(makeReport()))).not.to.contain(warning);
    const slow = makeReport({ onePool: makeSummary({ drainSeconds: 30 }) });
    expect(plainText(reportLines(slow))).to.contain(warning);
  });
});

describe('the last words of the demo', () => {
  const look = {
    namespace: 'demo',
    operator: { name: 'muster', namespace: 'muster-system' },
    before: ['export KUBECONFIG=/k'],
    takeDown: ['down'],
  };

  it('are commands for now when the cluster stays, and for another time when it does not', () => {
    expect(plainText(closingLines({ ...look, stays: true }))).to.contain('Everything still runs');
    expect(plainText(closingLines({ ...look, stays: false }))).to.contain('npm run demo -- --keep');
  });
});

describe('a time in words', () => {
  const cases: Record<string, { seconds: number; want: string }> = {
    'part of a millisecond': { seconds: 0.00042, want: '0.4 ms' },
    milliseconds: { seconds: 0.0042, want: '4 ms' },
    'just under a tenth of a second': { seconds: 0.0994, want: '99 ms' },
    'a tenth of a second': { seconds: 0.0996, want: '0.10 s' },
    seconds: { seconds: 2.4812, want: '2.48 s' },
    'many seconds': { seconds: 12.34, want: '12.3 s' },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`is right for ${name}`, () => expect(inWords(tc.seconds)).to.equal(tc.want));
  }
});

describe('a running set-up', () => {
  const state = { seconds: 12.3, ofSeconds: 44, tasks: 1000, sent: 310, notes: [] };

  it('shows what Muster does not know as ?, never as 0', () => {
    const pools = [
      { name: 'shared', status: { readyReplicas: 3, desiredReplicas: 4, tasks: { waiting: 0 } } },
      { name: 'other', status: {} },
    ];
    const text = plainText(liveLines({ ...state, pools }));
    expect(text).to.match(/shared +3\/4 +0 +\? +\?\n/);
    expect(text).to.match(/other +\?\/\? +\? +\? +\?$/);
    expect(plainLine({ ...state, pools })).to.contain('shared 3/4 pods: 0 waiting, ? held, ? running');
  });

  it('says that nothing was measured yet', () => {
    expect(plainText(liveLines({ ...state, pools: [] }))).to.contain('no short task has started yet');
  });
});
