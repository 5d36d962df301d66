/**
 * Requests to the API server: kept-alive connections, a deadline on every try (headers and body), retries only where
 * they are safe, Retry-After honoured, and metrics. client-node is used for credentials alone: its own requests have no
 * timeout, no retry, and a TLS handshake each. Knows HTTP and errors, not kinds.
 */
import type { KubeConfig } from '@kubernetes/client-node';
import type { Dispatcher } from 'undici';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createConnection } from './connection.ts';
import { createDeadline, type Deadline } from './deadline.ts';
import { errorFromResponse, KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { decideRetry, type RetryLimits } from './retry.ts';
import { createThrottle, type ThrottleLimits } from './throttle.ts';

/** A request, without credentials. */
export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path as the API server knows it, escaped. */
  readonly path: string;
  /** Query; undefined values are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** Content type of the body; `application/json` when absent. */
  readonly contentType?: string;
  /** Whether it may be sent twice; every method but POST when absent. */
  readonly idempotent?: boolean;
  /** Milliseconds for one try; the transport's own when absent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** An open answer whose body comes in pieces. */
export interface KubeStream {
  readonly chunks: AsyncIterable<Buffer>;
  /** Ends it; the iteration then ends or throws. Must be called in the end. */
  close(): void;
}

/** The way to one API server. */
export interface Transport {
  /** Sends a request and returns the parsed answer. Rejects with KubeError. */
  json<T>(request: KubeRequest): Promise<T>;
  /** Sends a request and returns the answer as text: `/readyz`, `/version`. Rejects with KubeError. */
  text(request: KubeRequest): Promise<string>;
  /** Opens a GET whose answer is read as it comes. One try; the deadline is for the headers only. Rejects with KubeError. */
  stream(request: Omit<KubeRequest, 'method' | 'body'>): Promise<KubeStream>;
  /** Ends every connection; requests under way fail. */
  close(): Promise<void>;
}

/** Limits of a transport; all have defaults. */
export interface TransportLimits extends RetryLimits {
  /** Milliseconds for one try of a request, from connecting to the last byte. */
  readonly timeoutMs: number;
  /** Milliseconds to connect, TLS included. */
  readonly connectTimeoutMs: number;
  /** Connections kept for requests (watches have their own). */
  readonly maxConnections: number;
}

const defaultLimits: TransportLimits = {
  timeoutMs: 10_000,
  connectTimeoutMs: 5_000,
  maxConnections: 32,
  maxRetries: 3,
  baseMs: 100,
  maxRetryAfterMs: 10_000,
};

/** What a transport is built from. */
export interface TransportOptions {
  readonly kubeConfig: KubeConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: KubeMetrics;
  /** `muster/<version>`: what the audit log shows. */
  readonly userAgent: string;
  /** Client-side rate limit; none when absent. */
  readonly throttle?: ThrottleLimits | undefined;
  readonly limits?: Partial<TransportLimits>;
  /** 0 ≤ r < 1, for jitter; `Math.random` when absent. */
  readonly random?: () => number;
}

/** Errors that come before the first byte is sent: whatever the method, nothing was done. */
const beforeSending = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** A failed try, with what deciding on a retry needs. */
class TryFailed extends Error {
  readonly error: KubeError;
  readonly sent: boolean;
  constructor(error: KubeError, sent: boolean) {
    super(error.message, { cause: error });
    this.error = error;
    this.sent = sent;
  }
}

/** Builds the transport. Connects on the first request. */
export function createTransport(options: TransportOptions): Transport {
  const { clock, log, metrics, userAgent } = options;
  const random = options.random ?? Math.random;
  const limits = { ...defaultLimits, ...options.limits };
  const connection = createConnection(options.kubeConfig, limits);
  const throttle = createThrottle(clock, options.throttle);

  /** Sends once. Resolves to the answer when its status is below 400, else rejects with TryFailed. */
  const open = async (
    request: KubeRequest,
    use: 'request' | 'watch',
    deadline: Deadline,
  ): Promise<Dispatcher.ResponseData> => {
    const name = `${request.method} ${request.path}`;
    const waitedMs = await throttle.take(deadline.signal);
    if (waitedMs > 0) metrics.rateLimiterSeconds.observe({ verb: request.method }, waitedMs / 1000);
    const route = await connection.route(use).catch((cause: unknown) => {
      throw new TryFailed(new KubeError('transport', name, `credentials: ${textOf(cause)}`, { cause }), false);
    });
    if (deadline.signal.aborted) throw new TryFailed(abortedError(name, deadline, undefined), false);
    let answer: Dispatcher.ResponseData;
    try {
      const asking = route.dispatcher.request({
        origin: route.origin,
        path: `${route.basePath}${request.path}${queryOf(request.query)}`,
        method: request.method,
        headers: {
          ...route.headers,
          'user-agent': userAgent,
          accept: 'application/json',
          ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
        },
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal: deadline.signal,
        headersTimeout: 0, // The deadline covers headers and body; undici's own timers only know idle time.
        bodyTimeout: 0,
      });
      answer = await orAborted(asking, deadline.signal);
    } catch (cause) {
      metrics.requests.inc({ code: '<error>', method: request.method });
      throw new TryFailed(failure(name, deadline, cause), !beforeSending.has(codeOf(cause)));
    }
    metrics.requests.inc({ code: String(answer.statusCode), method: request.method });
    if (answer.statusCode < 400) return answer;
    const body = await answer.body.text().catch(() => '');
    throw new TryFailed(errorFromResponse(name, answer.statusCode, body, headerOf(answer, 'retry-after')), true);
  };

  const failure = (name: string, deadline: Deadline, cause: unknown): KubeError => {
    if (!deadline.signal.aborted) return new KubeError('transport', name, textOf(cause), { cause });
    if (deadline.isTimedOut()) connection.renew();
    return abortedError(name, deadline, cause);
  };

  const once = async (request: KubeRequest): Promise<string> => {
    const deadline = createDeadline(clock, request.timeoutMs ?? limits.timeoutMs, request.signal);
    const startMs = clock.monotonicMs();
    try {
      const answer = await open(request, 'request', deadline);
      return await answer.body.text().catch((cause: unknown) => {
        throw new TryFailed(failure(`${request.method} ${request.path}`, deadline, cause), true);
      });
    } finally {
      deadline.clear();
      metrics.requestSeconds.observe({ verb: request.method }, (clock.monotonicMs() - startMs) / 1000);
    }
  };

  const text = async (request: KubeRequest): Promise<string> => {
    for (let retriesDone = 0; ; retriesDone += 1) {
      try {
        return await once(request);
      } catch (err) {
        if (!(err instanceof TryFailed)) throw err;
        const idempotent = request.idempotent ?? request.method !== 'POST';
        const { error, sent } = err;
        const waitMs = decideRetry({ error, idempotent, sent, retriesDone }, limits, random());
        if (waitMs === undefined) throw error;
        metrics.retries.inc({
          code: error.status === undefined ? '<error>' : String(error.status),
          verb: request.method,
        });
        log.debug('retrying a request to the API server', { request: error.request, kind: error.kind, waitMs });
        await clock.sleep(waitMs, request.signal);
        if (request.signal?.aborted === true)
          throw new KubeError('aborted', error.request, 'given up', { cause: error });
      }
    }
  };

  return {
    text,
    json: async <T>(request: KubeRequest): Promise<T> => {
      const body = await text(request);
      try {
        return JSON.parse(body) as T;
      } catch (cause) {
        // A load balancer's or a login page's HTML with status 200.
        const name = `${request.method} ${request.path}`;
        throw new KubeError('transport', name, `the answer is not JSON: ${body.slice(0, 100)}`, { cause });
      }
    },
    stream: async (partial) => {
      const request: KubeRequest = { ...partial, method: 'GET' };
      const deadline = createDeadline(clock, request.timeoutMs ?? limits.timeoutMs, request.signal);
      const startMs = clock.monotonicMs();
      try {
        const answer = await open(request, 'watch', deadline);
        deadline.liftTimeout();
        const close = (): void => {
          deadline.clear();
          deadline.abort();
        };
        // An aborted body that nobody reads any more reports its end as an error event: it must not end the process.
        answer.body.on('error', () => undefined);
        return { chunks: answer.body as AsyncIterable<Buffer>, close };
      } catch (err) {
        deadline.clear();
        throw err instanceof TryFailed ? err.error : err;
      } finally {
        metrics.requestSeconds.observe({ verb: 'WATCH' }, (clock.monotonicMs() - startMs) / 1000);
      }
    },
    close: () => connection.close(),
  };
}

function abortedError(name: string, deadline: Deadline, cause: unknown): KubeError {
  return deadline.isTimedOut()
    ? new KubeError('timeout', name, 'no answer within the time limit', { cause })
    : new KubeError('aborted', name, 'given up', { cause });
}

/**
 * Rejects as soon as the signal aborts. undici looks at a signal only once it has a connection: a deadline would wait
 * for a connection attempt into the void. (It does not send the request after that.)
 */
function orAborted(asking: Promise<Dispatcher.ResponseData>, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Error('aborted'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    asking.then(
      (answer) => {
        signal.removeEventListener('abort', onAbort);
        if (signal.aborted) answer.body.on('error', () => undefined).destroy();
        resolve(answer);
      },
      (err: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(err instanceof Error ? err : new Error(String(err)));
      },
    );
  });
}

function queryOf(query: KubeRequest['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

function headerOf(answer: Dispatcher.ResponseData, name: string): string | undefined {
  const value = answer.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function codeOf(err: unknown): string {
  if (!(err instanceof Error)) return '';
  if ('code' in err && typeof err.code === 'string') return err.code;
  // Several addresses tried (happy eyeballs) give an AggregateError whose members carry the codes.
  const inner: unknown = err instanceof AggregateError ? err.errors[0] : err.cause;
  return inner === undefined ? '' : codeOf(inner);
}

function textOf(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  const code = codeOf(err);
  return err.message === '' ? code || err.name : err.message;
}
