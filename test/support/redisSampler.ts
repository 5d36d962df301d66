/** Samplers on real servers, with everything a test wants to look at: readings, changes, log lines, commands sent. */
import { Registry } from 'prom-client';
import { createBrokers, type Brokers, type BrokerSampler } from '../../operator/broker/brokers.ts';
import { parseEndpoint, type BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { createBrokerMetrics } from '../../operator/broker/metrics.ts';
import type { BrokerState, QueueReading } from '../../operator/broker/reading.ts';
import type { SamplerTimes } from '../../operator/broker/sampler.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import { eventually } from './eventually.ts';

/** A sampler under test. */
export interface TestSampler {
  readonly brokers: Brokers;
  readonly endpoint: BrokerEndpoint;
  readonly sampler: BrokerSampler;
  readonly registry: Registry;
  /** Everything that was logged, as JSON. */
  readonly lines: string[];
  /** What `onChange` was called with. */
  readonly changes: (readonly string[] | 'state')[];
  /** The newest reading of a queue, without its time. */
  readonly value: (queue: string) => QueueReading;
  /** Waits for a reading. */
  readonly until: (queue: string, want: QueueReading | QueueReading['kind'], timeoutMs?: number) => Promise<void>;
  /** Waits for a state, given by its kind or the reason of its failure; resolves to it. */
  readonly untilState: (want: string, timeoutMs?: number) => Promise<BrokerState>;
  /** The sum of a metric. */
  readonly metric: (name: string) => Promise<number>;
  close(): Promise<void>;
}

/** What to sample and how. Times are short unless a test is about them. */
export interface TestSamplerOptions extends Partial<SamplerTimes> {
  readonly url: string;
  readonly queues?: readonly string[];
  readonly caPem?: string;
  readonly keyPrefix?: string;
  readonly prioritySteps?: readonly number[];
}

/** A logger that keeps its lines. */
export function collectingLog(lines: string[]): Logger {
  const keep = (level: string) => (message: string, fields?: object) => {
    const err: unknown = fields !== undefined && 'err' in fields ? fields.err : undefined;
    lines.push(JSON.stringify({ level, message, ...fields, ...(err instanceof Error ? { err: err.stack } : {}) }));
  };
  const log: Logger = {
    debug: keep('debug'),
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
    child: () => log,
  };
  return log;
}

/** Reads an endpoint that a test knows to be valid. */
export function endpointOf(options: TestSamplerOptions): BrokerEndpoint {
  const parsed = parseEndpoint(options);
  if (parsed.kind === 'invalid') throw new Error(parsed.message);
  return parsed.endpoint;
}

/** Starts a sampler. */
export function startSampler(options: TestSamplerOptions): TestSampler {
  const { queues = ['celery'], tickMs = 100, fullReadMs = 500, timeoutMs = 1000 } = options;
  const endpoint = endpointOf(options);
  const registry = new Registry();
  const lines: string[] = [];
  const changes: (readonly string[] | 'state')[] = [];
  const metrics = createBrokerMetrics(registry);
  const log = collectingLog(lines);
  const brokers = createBrokers({ clock: systemClock, log, metrics, tickMs, fullReadMs, timeoutMs });
  const sampler = brokers.acquire(endpoint, 'shop/pool', queues);
  sampler.onChange((changed) => changes.push(changed));
  const value = (queue: string): QueueReading => sampler.reading(queue).value;
  const show = (): string => JSON.stringify(sampler.state());
  return {
    brokers,
    endpoint,
    sampler,
    registry,
    lines,
    changes,
    value,
    until: (queue, want, timeout = 10_000) =>
      eventually(
        () => {
          const now = value(queue);
          const isThere = typeof want === 'string' ? now.kind === want : JSON.stringify(now) === JSON.stringify(want);
          if (!isThere) throw new Error(`${queue} is ${JSON.stringify(now)}, not ${JSON.stringify(want)}; ${show()}`);
        },
        { timeoutMs: timeout },
      ),
    untilState: (want, timeout = 10_000) =>
      eventually(
        () => {
          const state = sampler.state();
          if (state.kind !== want && !(state.kind === 'failed' && state.reason === want)) {
            throw new Error(`the state is ${show()}, not ${want}`);
          }
          return state;
        },
        { timeoutMs: timeout },
      ),
    async metric(name) {
      const metric = await registry.getSingleMetric(name)?.get();
      return (metric?.values ?? []).reduce((total, each) => total + each.value, 0);
    },
    close: () => brokers.close(),
  };
}

/** A reading that is known. */
export function reading(ready: number, held = 0): QueueReading {
  return { kind: 'ok', ready, held };
}
