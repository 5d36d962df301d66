/** The table: what was measured, the bar it is held against, and what came out. Pure. */
import pc from 'picocolors';

/** One line of the table. */
export interface Row {
  readonly what: string;
  /** The bar in words; empty when there is none. */
  readonly bar: string;
  readonly measured: string;
  /** Whether the bar is met; absent when there is none. */
  readonly isMet?: boolean;
}

/** A row that has a bar which is not to be exceeded. */
export function atMost(
  what: string,
  value: number,
  most: number,
  unit: string,
  format: (value: number) => string,
): Row {
  const bar = most === 0 ? `0${unit}` : `≤ ${most}${unit}`;
  return { what, bar, measured: `${format(value)}${unit}`, isMet: value <= most };
}

/** Lays the rows out in columns. */
export function formatTable(rows: readonly Row[]): string {
  const head: Row = { what: 'what', bar: 'bar', measured: 'measured' };
  const width = (pick: (row: Row) => string): number => Math.max(...[head, ...rows].map((row) => pick(row).length));
  const whatWidth = width((row) => row.what);
  const barWidth = width((row) => row.bar);
  const line = ({ what, bar, measured, isMet }: Row): string => {
    const mark = isMet === undefined ? '' : isMet ? pc.green('  ✓') : pc.red('  ✗');
    return `${what.padEnd(whatWidth)}  ${bar.padEnd(barWidth)}  ${measured}${mark}`;
  };
  return [pc.bold(line(head)), ...rows.map(line)].join('\n');
}
