/**
 * Points in time as Python's `datetime.isoformat()` writes them and `dateutil.parser.isoparse` (Celery's reader of
 * `eta` and `expires`) reads them. A text without an offset is UTC, as Celery takes it.
 */
import { ProtocolError } from './errors.ts';

const extended =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(Z|[+-]\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d+)?)?)?)?)?$/;
const basic = /^(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(?:(\d{2})(?:[.,](\d{1,9}))?)?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/;

/** Unix time in ms (microseconds in the fraction are cut to whole ms), or undefined for a text that is not a time. */
export function parseIsoTime(text: string): number | undefined {
  const match = extended.exec(text) ?? basic.exec(text);
  if (match === null) return undefined;
  const year = Number(match[1]);
  const month = Number(match[2]);
  const day = Number(match[3]);
  const hour = Number(match[4] ?? 0);
  const minute = Number(match[5] ?? 0);
  const second = Number(match[6] ?? 0);
  const ms = Number((match[7] ?? '').padEnd(3, '0').slice(0, 3));
  const offsetMs = parseOffsetMs(match[8]);
  // Python's years start at 1, and it knows no leap seconds; 24:00:00 is the next midnight.
  if (year < 1 || month < 1 || month > 12 || day < 1 || minute > 59 || second > 59) return undefined;
  if (hour > 24 || (hour === 24 && (minute > 0 || second > 0 || ms > 0))) return undefined;
  if (offsetMs === undefined) return undefined;
  const date = new Date(0);
  // Date.UTC would take the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCDate() !== day) return undefined;
  date.setUTCHours(hour, minute, second, ms);
  return date.getTime() - offsetMs;
}

function parseOffsetMs(offset: string | undefined): number | undefined {
  if (offset === undefined || offset === 'Z') return 0;
  const digits = offset.slice(1).replaceAll(':', '');
  const hours = Number(digits.slice(0, 2));
  const minutes = Number(digits.slice(2, 4));
  const seconds = Number(digits.slice(4));
  if (hours > 23 || minutes > 59 || seconds >= 60) return undefined;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60 + seconds) * 1000;
}

/** First and last ms that Python can read (years 1 to 9999). */
const firstMs = -62_135_596_800_000;
const lastMs = 253_402_300_799_999;

/** True for a Unix time in ms that Python's datetime can hold. */
export function isPythonTime(ms: number): boolean {
  return ms >= firstMs && ms <= lastMs;
}

/**
 * Unix time in ms as `datetime.now(timezone.utc).isoformat()` writes it: `2026-11-22T04:41:24.771000+00:00`, without a
 * fraction when it is zero. Throws {@link ProtocolError} for a time outside of the years 1 to 9999, which Python cannot read.
 */
export function formatIsoTime(ms: number): string {
  if (!isPythonTime(ms)) throw new ProtocolError('invalid', `the time ${ms} ms is not within the years 1 to 9999`);
  const text = new Date(ms).toISOString();
  const fraction = text.slice(20, 23);
  return fraction === '000' ? `${text.slice(0, 19)}+00:00` : `${text.slice(0, 23)}000+00:00`;
}
