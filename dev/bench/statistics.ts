/** Percentiles and how numbers are written in the table. Pure. */

/** The sample below which a share of all samples lies (nearest rank). Throws when there is none: no sample is no zero. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (found === undefined) throw new Error('no samples');
  return found;
}

/** What is said of a set of durations. */
export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Sums up durations. */
export function spreadOf(samples: readonly number[]): Spread {
  const [p50, p99, max] = [percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 1)];
  return { count: samples.length, p50, p99, max };
}

/** Two significant digits below ten, none after the point above: `0.012`, `3.4`, `118`. */
export function shortNumber(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) >= 10 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}
