import { expect } from 'chai';
import fc from 'fast-check';
import { percentile, summarise, type TaskNote } from '../../../dev/demo/results.ts';

describe('percentile', () => {
  const cases: Record<string, { values: number[]; percent: number; want: number }> = {
    'the middle of an odd number of values': { values: [3, 1, 2], percent: 50, want: 2 },
    'the lower of the two in the middle': { values: [4, 1, 2, 3], percent: 50, want: 2 },
    'the one value there is': { values: [7], percent: 99, want: 7 },
    'the largest of fewer than 100 values': { values: [5, 9, 1], percent: 99, want: 9 },
    'the 198th of 200 values': { values: Array.from({ length: 200 }, (_, i) => i), percent: 99, want: 197 },
    'the smallest at 0': { values: [5, 9, 1], percent: 0, want: 1 },
    'the largest at 100': { values: [5, 9, 1], percent: 100, want: 9 },
    'numbers and not their texts': { values: [10, 9, 100], percent: 100, want: 100 },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`is ${name}`, () => expect(percentile(tc.values, tc.percent)).to.equal(tc.want));
  }

  it('is not a number without values', () => expect(percentile([], 99)).to.be.NaN);

  it('is a value that was measured, and the smallest that enough of them do not exceed', () => {
    const values = fc.array(fc.double({ noNaN: true, min: 0, max: 1e6 }), { minLength: 1 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 100 }), (all, percent) => {
        const found = percentile(all, percent);
        const reached = (limit: number) => all.filter((value) => value <= limit).length * 100 >= percent * all.length;
        const smaller = all.filter((value) => value < found);
        return all.includes(found) && reached(found) && (smaller.length === 0 || !reached(Math.max(...smaller)));
      }),
    );
  });

  it('leaves its input as it was', () => {
    const values = [3, 1, 2];
    percentile(values, 50);
    expect(values).to.deep.equal([3, 1, 2]);
  });
});

describe('summarise', () => {
  const note = (kind: TaskNote['kind'], sent: number, started: number, ended: number): TaskNote => ({
    kind,
    sent,
    started,
    ended,
  });

  it('keeps short and long tasks apart, and counts the time from the first sent to the last ended', () => {
    const notes = [
      // In the order in which they ended, which is not that in which they were sent.
      note('short', 100.5, 100.75, 101),
      note('long', 100, 101, 103),
      note('short', 102, 104, 105),
      note('long', 101, 101.5, 110),
    ];
    expect(summarise(notes)).to.deep.equal({
      tasks: 4,
      shortWaitSeconds: { p50: 0.25, p99: 2 },
      longWaitSeconds: { p50: 0.5, p99: 1 },
      tasksPerSecond: 0.4,
      drainSeconds: 8,
    });
  });
});
