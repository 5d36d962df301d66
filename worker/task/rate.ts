/** Rate limits as Celery writes them. Source: celery/utils/time.py (`rate`). */

const perSecondOf: Readonly<Record<string, number>> = { s: 1, m: 1 / 60, h: 1 / 3600 };

/** A rate that could be read; `perSecond` is undefined for "no limit". */
export interface Rate {
  readonly perSecond: number | undefined;
}

/** Reads `10/s`, `5/m`, `100/h`, a number per second; 0 or nothing is no limit. Undefined: not a rate. */
export function parseRate(value: string | number | null | undefined): Rate | undefined {
  if (value === undefined || value === null || value === '') return { perSecond: undefined };
  const [amount = '', unit = 's', ...more] = String(value).split('/');
  const factor = Object.hasOwn(perSecondOf, unit) ? perSecondOf[unit] : undefined;
  const number = amount.trim() === '' ? NaN : Number(amount);
  if (factor === undefined || more.length > 0 || !Number.isFinite(number) || number < 0) return undefined;
  return { perSecond: number === 0 ? undefined : number * factor };
}
