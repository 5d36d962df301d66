/**
 * Metrics of the Kubernetes client, under the names of client-go, so that existing dashboards and alerts work. Labels
 * are closed sets: methods, status codes and the plural names of the watched kinds.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What the client counts. Created once per process and passed in. */
export interface KubeMetrics {
  /** Requests by status code (`<error>` when there was no answer) and method. */
  readonly requests: Counter<'code' | 'method'>;
  /** Seconds to the end of the answer (to its headers for a watch), by verb. */
  readonly requestSeconds: Histogram<'verb'>;
  /** Requests sent again, by what the attempt before it ended with. */
  readonly retries: Counter<'code' | 'verb'>;
  /** Seconds a request waited for the client's own rate limit. */
  readonly rateLimiterSeconds: Histogram<'verb'>;
  /** Lists done by reflectors, by kind watched. */
  readonly lists: Counter<'name'>;
  /** Watches opened by reflectors. */
  readonly watches: Counter<'name'>;
  /** Watches that ended in error, by cause. */
  readonly watchFailures: Counter<'name' | 'cause'>;
  /** Objects in the cache. */
  readonly cachedObjects: Gauge<'name'>;
  /** Change handlers and transforms that threw. */
  readonly handlerErrors: Counter<'name'>;
  /** 1 while this process is the leader. */
  readonly leader: Gauge<'name'>;
  /** Events that were not sent, by why. */
  readonly eventsDropped: Counter<'why'>;
}

/** Registers the client's metrics. */
export function createKubeMetrics(registry: Registry): KubeMetrics {
  const registers = [registry];
  const seconds = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
  return {
    requests: new Counter({
      name: 'rest_client_requests_total',
      help: 'Number of HTTP requests, partitioned by status code and method.',
      labelNames: ['code', 'method'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Request latency in seconds, by verb.',
      labelNames: ['verb'],
      buckets: seconds,
      registers,
    }),
    retries: new Counter({
      name: 'rest_client_request_retries_total',
      help: 'Number of request retries, partitioned by status code and verb.',
      labelNames: ['code', 'verb'],
      registers,
    }),
    rateLimiterSeconds: new Histogram({
      name: 'rest_client_rate_limiter_duration_seconds',
      help: 'Seconds a request waited for the client-side rate limit, by verb.',
      labelNames: ['verb'],
      buckets: seconds,
      registers,
    }),
    lists: new Counter({
      name: 'reflector_lists_total',
      help: 'Number of lists done by reflectors.',
      labelNames: ['name'],
      registers,
    }),
    watches: new Counter({
      name: 'reflector_watches_total',
      help: 'Number of watches opened by reflectors.',
      labelNames: ['name'],
      registers,
    }),
    watchFailures: new Counter({
      name: 'reflector_watch_failures_total',
      help: 'Number of watches that ended in error, by cause.',
      labelNames: ['name', 'cause'],
      registers,
    }),
    cachedObjects: new Gauge({
      name: 'reflector_cached_objects',
      help: 'Number of objects in the cache.',
      labelNames: ['name'],
      registers,
    }),
    handlerErrors: new Counter({
      name: 'reflector_handler_errors_total',
      help: 'Number of change handlers and transforms that threw.',
      labelNames: ['name'],
      registers,
    }),
    leader: new Gauge({
      name: 'leader_election_master_status',
      help: '1 while this process holds the lease, 0 otherwise.',
      labelNames: ['name'],
      registers,
    }),
    eventsDropped: new Counter({
      name: 'event_recorder_dropped_total',
      help: 'Number of Kubernetes events that were not sent, by why.',
      labelNames: ['why'],
      registers,
    }),
  };
}
