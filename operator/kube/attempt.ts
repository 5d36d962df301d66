/**
 * One try of one request: sent on a kept connection, within a deadline, answered or failed. Retrying is the
 * transport's. Notices when the server has gone silent altogether and gives up every connection then.
 */
import type { Dispatcher } from 'undici';
import type { Clock } from '../runtime/clock.ts';
import type { Connection, Route } from './connection.ts';
import type { Deadline } from './deadline.ts';
import { errorFromResponse, KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import type { Throttle } from './throttle.ts';

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

/** An answer whose status is below 400. One of the two is to be used. */
export interface Answer {
  /** The whole body. Rejects with TryFailed. */
  text(): Promise<string>;
  /** The body as it comes. */
  readonly chunks: AsyncIterable<Buffer>;
}

/** A failed try, with what deciding on a retry needs. */
export class TryFailed extends Error {
  readonly error: KubeError;
  /** Whether the server may have seen any of the request. */
  readonly sent: boolean;
  constructor(error: KubeError, sent: boolean) {
    super(error.message, { cause: error });
    this.error = error;
    this.sent = sent;
  }
}

/** Sends requests, each once. */
export interface Sender {
  /** Rejects with TryFailed. */
  send(request: KubeRequest, use: 'request' | 'watch', deadline: Deadline): Promise<Answer>;
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

/** Builds a sender on a connection. */
export function createSender(options: {
  readonly connection: Connection;
  readonly throttle: Throttle;
  readonly clock: Clock;
  readonly metrics: KubeMetrics;
  readonly userAgent: string;
}): Sender {
  const { connection, throttle, clock, metrics, userAgent } = options;
  /** When the server last said anything, on whichever connection. */
  let heardMs = clock.monotonicMs();
  const hear = (): void => void (heardMs = clock.monotonicMs());

  const failure = (name: string, route: Route, deadline: Deadline, cause: unknown): KubeError => {
    if (!deadline.signal.aborted) return new KubeError('transport', name, textOf(cause), { cause });
    // One slow request is no reason to end the watches; silence everywhere since it began is.
    if (deadline.isTimedOut()) connection.renew(route, heardMs < deadline.startMs);
    return abortedError(name, deadline, cause);
  };

  return {
    send: async (request, use, deadline) => {
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
        throw new TryFailed(failure(name, route, deadline, cause), !beforeSending.has(codeOf(cause)));
      }
      hear();
      metrics.requests.inc({ code: String(answer.statusCode), method: request.method });
      if (answer.statusCode >= 400) {
        const body = await answer.body.text().catch(() => '');
        throw new TryFailed(errorFromResponse(name, answer.statusCode, body, headerOf(answer, 'retry-after')), true);
      }
      // An aborted body that nobody reads any more reports its end as an error event: it must not end the process.
      answer.body.on('error', () => undefined);
      return {
        chunks: eachHeard(answer.body, hear),
        text: () =>
          answer.body.text().catch((cause: unknown) => {
            throw new TryFailed(failure(name, route, deadline, cause), true);
          }),
      };
    },
  };
}

async function* eachHeard(body: AsyncIterable<Buffer>, hear: () => void): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    hear();
    yield chunk;
  }
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

function abortedError(name: string, deadline: Deadline, cause: unknown): KubeError {
  return deadline.isTimedOut()
    ? new KubeError('timeout', name, 'no answer within the time limit', { cause })
    : new KubeError('aborted', name, 'given up', { cause });
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
