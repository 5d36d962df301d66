/**
 * One error for everything that can go wrong between Muster and the API server, with a `kind` to decide on. Callers
 * never look at status codes, undici codes or message texts.
 */
import type { RawStatus } from './types.ts';

/**
 * What went wrong, by what a caller can do about it:
 * `notFound`, `conflict`, `alreadyExists`: the object is not as thought, read again;
 * `invalid`, `badRequest`, `forbidden`, `unauthorized`: a person has to change something;
 * `expired`: the resource version or continue token is too old, list again;
 * `tooManyRequests`, `unavailable`, `timeout`, `transport`: later (`timeout` and `transport` may have been done all the same);
 * `aborted`: the caller's own signal ended it.
 */
export type KubeErrorKind =
  | 'notFound'
  | 'conflict'
  | 'alreadyExists'
  | 'invalid'
  | 'forbidden'
  | 'unauthorized'
  | 'tooManyRequests'
  | 'expired'
  | 'unavailable'
  | 'timeout'
  | 'transport'
  | 'badRequest'
  | 'aborted';

/** What is known of a failure besides its kind and message. */
export interface KubeErrorDetails {
  /** HTTP status, or the `code` of an in-band Status. */
  readonly status?: number | undefined;
  /** The API server's own reason, for example `AlreadyExists`. */
  readonly reason?: string | undefined;
  /** How long the server asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** Causes named by the server, for example `ResourceVersionTooLarge`. */
  readonly causes?: readonly string[] | undefined;
  readonly cause?: unknown;
}

/** A request to the API server that did not do what was asked. */
export class KubeError extends Error {
  readonly kind: KubeErrorKind;
  /** Method and path, for people: `PATCH /apis/apps/v1/namespaces/shop/deployments/a`. */
  readonly request: string;
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly causes: readonly string[];

  constructor(kind: KubeErrorKind, request: string, message: string, details: KubeErrorDetails = {}) {
    super(`${request}: ${message}`, details.cause === undefined ? {} : { cause: details.cause });
    this.name = 'KubeError';
    this.kind = kind;
    this.request = request;
    this.status = details.status;
    this.reason = details.reason;
    this.retryAfterMs = details.retryAfterMs;
    this.causes = details.causes ?? [];
  }
}

/** Whether an error is a KubeError, of one of these kinds when any are given. */
export function isKubeError(err: unknown, ...kinds: KubeErrorKind[]): err is KubeError {
  return err instanceof KubeError && (kinds.length === 0 || kinds.includes(err.kind));
}

/** Resolves to undefined when the object is not there: for reads where absence is an answer. */
export async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (err) {
    if (isKubeError(err, 'notFound')) return undefined;
    throw err;
  }
}

const kindByStatus: Readonly<Record<number, KubeErrorKind>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'notFound',
  408: 'timeout',
  409: 'conflict',
  410: 'expired',
  422: 'invalid',
  429: 'tooManyRequests',
  504: 'timeout',
};

/** The kind of an error answer. The reason decides where one status means two things (409), the status otherwise. */
export function kindOf(status: number, reason?: string): KubeErrorKind {
  if (reason === 'AlreadyExists') return 'alreadyExists';
  if (reason === 'Expired' || reason === 'Gone') return 'expired';
  return kindByStatus[status] ?? (status >= 500 ? 'unavailable' : 'badRequest');
}

/** Builds the error for an HTTP error answer. The body is a Status in JSON, or anything at all when a proxy answered. */
export function errorFromResponse(request: string, status: number, body: string, retryAfter?: string): KubeError {
  const parsed = parseStatus(body);
  return new KubeError(kindOf(status, parsed?.reason), request, messageOf(status, body, parsed), {
    status,
    reason: parsed?.reason,
    retryAfterMs: parseRetryAfter(retryAfter) ?? secondsToMs(parsed?.details?.retryAfterSeconds),
    causes: parsed?.details?.causes?.flatMap((cause) => cause.reason ?? []),
  });
}

/** Builds the error for a Status that came inside a watch stream whose HTTP status was 200. */
export function errorFromStatus(request: string, status: RawStatus): KubeError {
  const code = status.code ?? 500;
  return new KubeError(kindOf(code, status.reason), request, status.message ?? `the server said ${code}`, {
    status: code,
    reason: status.reason,
    retryAfterMs: secondsToMs(status.details?.retryAfterSeconds),
    causes: status.details?.causes?.flatMap((cause) => cause.reason ?? []),
  });
}

/** Milliseconds of a Retry-After header (seconds only: the API server never sends the date form). */
export function parseRetryAfter(header: string | undefined): number | undefined {
  if (header === undefined || !/^\s*\d+\s*$/.test(header)) return undefined;
  return Number(header) * 1000;
}

function secondsToMs(seconds: number | undefined): number | undefined {
  return seconds === undefined || seconds <= 0 ? undefined : seconds * 1000;
}

function parseStatus(body: string): RawStatus | undefined {
  try {
    const value: unknown = JSON.parse(body);
    const isStatus = typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status';
    return isStatus ? (value as unknown as RawStatus) : undefined;
  } catch {
    return undefined;
  }
}

function messageOf(status: number, body: string, parsed: RawStatus | undefined): string {
  const text = parsed?.message ?? body.trim().slice(0, 300);
  return text === '' ? `the server answered ${status}` : text;
}
