/**
 * Requests to the API server: kept-alive connections, a deadline on every try (headers and body), retries only where
 * they are safe, Retry-After honoured, and metrics. client-node is used for credentials alone: its own requests have no
 * timeout, no retry, and a TLS handshake each. Knows HTTP and errors, not kinds.
 */
import type { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createSender, TryFailed, type KubeRequest } from './attempt.ts';
import { createConnection } from './connection.ts';
import { createDeadline } from './deadline.ts';
import { KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { decideRetry, type RetryLimits } from './retry.ts';
import { createThrottle, type ThrottleLimits } from './throttle.ts';

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

/** Builds the transport. Connects on the first request. */
export function createTransport(options: TransportOptions): Transport {
  const { clock, log, metrics, userAgent } = options;
  const random = options.random ?? Math.random;
  const limits = { ...defaultLimits, ...options.limits };
  const connection = createConnection(options.kubeConfig, limits);
  const throttle = createThrottle(clock, options.throttle);
  const sender = createSender({ connection, throttle, clock, metrics, userAgent });

  const once = async (request: KubeRequest): Promise<string> => {
    const deadline = createDeadline(clock, request.timeoutMs ?? limits.timeoutMs, request.signal);
    try {
      const answer = await sender.send(request, 'request', deadline);
      return await answer.text();
    } finally {
      deadline.clear();
      metrics.requestSeconds.observe({ verb: request.method }, (clock.monotonicMs() - deadline.startMs) / 1000);
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
      const deadline = createDeadline(clock, partial.timeoutMs ?? limits.timeoutMs, partial.signal);
      try {
        const { chunks } = await sender.send({ ...partial, method: 'GET' }, 'watch', deadline);
        deadline.liftTimeout();
        const close = (): void => {
          deadline.clear();
          deadline.abort();
        };
        return { chunks, close };
      } catch (err) {
        deadline.clear();
        throw err instanceof TryFailed ? err.error : err;
      } finally {
        metrics.requestSeconds.observe({ verb: 'WATCH' }, (clock.monotonicMs() - deadline.startMs) / 1000);
      }
    },
    close: () => connection.close(),
  };
}
