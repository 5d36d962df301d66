/** Times as Kubernetes writes them. */

/**
 * RFC 3339 with microseconds, as Lease and Event demand: with the milliseconds of `toISOString` the API server answers
 * 400 "parsing time".
 * @param ms milliseconds since the epoch
 */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

/** RFC 3339 with whole seconds, as conditions and most other fields have it. */
export function secondTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
