/** The rows of the table: each with the bar that it is held against. Pure. */
import type { Row as TableRow } from '../report.ts';
import type { Row } from './measure.ts';

const say = ({ tasksPerSecond, cpuMicrosPerTask, rssMb }: Row, more = ''): string =>
  `${tasksPerSecond.toLocaleString('en')}/s, ${cpuMicrosPerTask} µs of CPU a task, ${rssMb} MB${more}`;

/** Lays out what was measured, and the ratios between the rows. */
export function tableOf(rows: readonly Row[]): TableRow[] {
  const rate = (start: string): number =>
    Math.max(0, ...rows.filter(({ name }) => name.startsWith(start)).map((row) => row.tasksPerSecond));
  const main = exact(rows, 'muster, prefetch 16');
  const bars: Readonly<Record<string, number>> = {
    'muster, prefetch 16': 20_000,
    'muster, prefetch 1': 5_000,
    'muster, prefetch 16, with results': 10_000,
    'client.send, 1,000 at a time': 30_000,
  };
  const measured = rows.map((row): TableRow => {
    const bar = bars[row.name];
    const shown = { what: row.name, measured: say(row) };
    return bar === undefined
      ? { ...shown, bar: '' }
      : { ...shown, bar: `≥ ${bar.toLocaleString('en')}/s`, isMet: row.tasksPerSecond >= bar };
  });
  const ratio = (what: string, value: number, least: number): TableRow => ({
    what,
    bar: `≥ ${least}`,
    measured: value.toFixed(2),
    isMet: value >= least,
  });
  const largest = rows.filter(({ name }) => name.startsWith('muster,')).map(({ rssMb }) => rssMb);
  const soak = rows.find(({ name }) => name.endsWith('soak'));
  return [
    ...measured,
    { ...atMost('memory of the worker, any row', Math.max(...largest), 100), measured: `${Math.max(...largest)} MB` },
    ...(soak?.warmRssMb === undefined
      ? []
      : [atMost('memory at the end of the soak against its beginning', soak.rssMb / soak.warmRssMb, 1.1)]),
    ratio('prefetch 16 against BullMQ at its best', main / rate('BullMQ'), 1.5),
    ratio('prefetch 16 against one Celery process', main / rate('Celery'), 20),
    ratio(
      '2 ms further away against near by',
      exact(rows, 'muster, prefetch 2,048, proxy 2 ms away') / exact(rows, 'muster, prefetch 2,048, proxy'),
      0.8,
    ),
  ];
}

function atMost(what: string, value: number, most: number): TableRow {
  return { what, bar: `≤ ${most}`, measured: value.toFixed(2), isMet: value <= most };
}

function exact(rows: readonly Row[], name: string): number {
  return rows.find((row) => row.name === name)?.tasksPerSecond ?? 0;
}
