/** The guide names every option of the command, and every metric, as they are. */
import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { Registry } from 'prom-client';
import { parseConfig } from '../../../worker/config.ts';
import { createWorkerMetrics } from '../../../worker/metrics.ts';

const guide = readFileSync(new URL('../../../docs/guides/node-worker.md', import.meta.url), 'utf8');

/** The options as rows of the guide's table, from what `--help` prints. */
function optionRows(): string[] {
  const parsed = parseConfig(['--help'], '0', () => '');
  const text = parsed.kind === 'text' ? parsed.text : '';
  const options = text
    .slice(text.indexOf('Options:'))
    .split(/\n {2}(?=-)/)
    .slice(1);
  return options
    .map((option) => option.replaceAll(/\s+/g, ' ').trim())
    .map((option) => /^(--[\w-]+(?: <\w+>)?) (.*) \((?:default: (.*), )?env: (\w+)\)$/.exec(option))
    .filter((match) => match !== null)
    .map(([, flag = '', what = '', fallback = '', variable = '']) => {
      const value = fallback.replaceAll('"', '').replace('false', '');
      return `| \`${flag}\` | \`${variable}\` |${value === '' ? '' : ` \`${value}\``} | ${what} |`;
    });
}

describe('the guide of the Node worker', () => {
  it('has a table of all options', () => {
    const rows = optionRows();
    expect(rows).to.have.length.above(20);
    const table = guide.slice(guide.indexOf('| flag | variable |')).split('\n\n')[0]?.split('\n').slice(2);
    expect(table).to.deep.equal(rows);
  });

  it('has a table of all metrics', () => {
    const registry = new Registry();
    createWorkerMetrics(registry, [], {
      executor: () => {
        throw new Error('is not asked');
      },
      isConnected: () => false,
    });
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    for (const name of names) expect(guide).to.contain(`| \`${name}\` |`);
    const told = [...guide.matchAll(/^\| `(muster_worker_\w+)`/gm)].map(([, name]) => name);
    expect(told.sort()).to.deep.equal(names.sort());
  });
});
