/** A value as it is read after it was written: a whole number beyond 2^53 comes back as a bigint, as Python's ints do. */
export function asRead(value: unknown): unknown {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    const digits = String(value);
    return digits.includes('e') ? value : BigInt(digits);
  }
  if (Array.isArray(value)) return value.map(asRead);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, item]): [string, unknown] => [name, asRead(item)]);
  return Object.fromEntries(entries);
}
