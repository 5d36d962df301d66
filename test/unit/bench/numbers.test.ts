/** The benchmark's arithmetic: a wrong percentile or a metric read wrongly would make the promises of the table false. */
import { expect } from 'chai';
import { countOf, parseCommandStats, sumOf, writesOf } from '../../../dev/bench/metrics.ts';
import { parseCpuSeconds, parseImageEnv, parseMemory, parseNodeFlags } from '../../../dev/bench/operatorProcess.ts';
import { atMost, formatTable } from '../../../dev/bench/report.ts';
import { percentile, shortNumber, spreadOf } from '../../../dev/bench/statistics.ts';

const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);

describe('bench statistics', () => {
  for (const [name, { samples, share, want }] of Object.entries({
    'the middle of one sample is the sample': { samples: [7], share: 0.5, want: 7 },
    'p99 of a hundred is the second largest': { samples: hundred, share: 0.99, want: 99 },
    'p99 of few is the largest': { samples: [3, 1, 2], share: 0.99, want: 3 },
    'p50 of an even count is a sample, not a mean': { samples: [1, 2, 3, 4], share: 0.5, want: 2 },
  }))
    it(name, () => expect(percentile(samples, share)).to.equal(want));

  it('has no percentile of nothing', () => expect(() => percentile([], 0.5)).to.throw('no samples'));

  it('sums up', () => expect(spreadOf(hundred)).to.deep.equal({ count: 100, p50: 50, p99: 99, max: 100 }));

  for (const [value, want] of [
    [0, '0'],
    [0.012345, '0.012'],
    [3.456, '3.5'],
    [118.4, '118'],
  ] as const)
    it(`writes ${value} as ${want}`, () => expect(shortNumber(value)).to.equal(want));
});

describe('bench metrics', () => {
  const text = [
    '# HELP rest_client_requests_total Requests.',
    'rest_client_requests_total{code="200",method="GET"} 10',
    'rest_client_requests_total{code="200",method="PATCH"} 3',
    'rest_client_requests_total{code="201",method="POST"} 4',
    'rest_client_requests_total_of_something_else{method="POST"} 100',
    'muster_pool_tasks{namespace="a",pool="x",state="waiting"} 0',
    'muster_pool_tasks{namespace="a",pool="y",state="waiting"} 2',
    'muster_pool_tasks{namespace="a",pool="y",state="held"} 5',
    'process_resident_memory_bytes 42',
  ].join('\n');

  it('counts as writes what is no GET', () => expect(writesOf(text)).to.equal(7));
  it('sums series by label', () => expect(sumOf(text, 'muster_pool_tasks', ['pool="y"'])).to.equal(7));
  it('counts series', () => expect(countOf(text, 'muster_pool_tasks', ['state="waiting"'])).to.equal(2));
  it('reads a metric without labels', () => expect(sumOf(text, 'process_resident_memory_bytes')).to.equal(42));

  it('reads command statistics with their subcommands', () => {
    const info =
      '# Commandstats\r\ncmdstat_llen:calls=400,usec=9,usec_per_call=0.5\r\ncmdstat_client|id:calls=2,usec=1\r\n';
    expect([...parseCommandStats(info)]).to.deep.equal([
      ['llen', 400],
      ['client|id', 2],
    ]);
  });

  it('reads the time of a process whose name has spaces and parentheses', () => {
    const stat = '12 (node (x) y) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 11 0 12345 1 2';
    expect(parseCpuSeconds(stat)).to.equal(3);
  });

  it('reads memory, and zero where there is no /proc', () => {
    const status = 'Name:\tnode\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n';
    expect(parseMemory(status)).to.deep.equal({ rssMiB: 100, peakRssMiB: 200 });
    expect(parseMemory('')).to.deep.equal({ rssMiB: 0, peakRssMiB: 0 });
  });
});

describe('bench operator', () => {
  it('runs with the flags of the image', () => {
    const text = 'FROM x\nENTRYPOINT ["node", "--a", "--b=1", "/app/operator.mjs"]\n';
    expect(parseNodeFlags(text)).to.deep.equal(['--a', '--b=1']);
  });

  it('says when the image has no flags to read', () =>
    expect(() => parseNodeFlags('ENTRYPOINT node x')).to.throw('ENTRYPOINT in JSON form'));
});

describe('bench table', () => {
  it('marks whether the bar is met', () => {
    const table = formatTable([
      atMost('memory', 119, 120, ' MiB', shortNumber),
      atMost('writes', 0.1, 0, '', shortNumber),
    ]);
    expect(table)
      .to.match(/memory +≤ 120 MiB +119 MiB.*✓/)
      .and.to.match(/writes +0 +0\.1.*✗/);
  });

  it('takes the environment of the image, without its paths', () => {
    const text = 'FROM x\nENV NODE_ENV=production A_B=2 FILE=/app/x.py\nENV C=3\n';
    expect(parseImageEnv(text)).to.deep.equal({ NODE_ENV: 'production', A_B: '2', C: '3' });
  });
});
