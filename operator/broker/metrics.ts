/**
 * Metrics of the brokers. The label is `host:port/db`, never a URL. Two endpoints may differ only in credentials or
 * prefix and so share a series: it counts both, says "up" only when both are, and goes when the last of them goes.
 */
import { Counter, Gauge, type Registry } from 'prom-client';

/** What one sampler reports. */
export interface BrokerSeries {
  /** Commands that were sent in one round trip. */
  sent(commands: number): void;
  /** Whether the broker could be read at the last attempt, and whether it pushes changes. */
  state(up: boolean, tracking: boolean): void;
  /** Takes the series away, unless another sampler shares them. */
  release(): void;
}

/** Metrics of all brokers, created once per process. */
export interface BrokerMetrics {
  acquire(broker: string): BrokerSeries;
}

/** Registers the metrics. */
export function createBrokerMetrics(registry: Registry): BrokerMetrics {
  const registers = [registry];
  const labelNames = ['broker'] as const;
  const commands = new Counter({
    name: 'muster_broker_commands_total',
    help: 'Commands sent to the broker.',
    labelNames,
    registers,
  });
  const roundTrips = new Counter({
    name: 'muster_broker_round_trips_total',
    help: 'Round trips to the broker; one carries many commands.',
    labelNames,
    registers,
  });
  const up = new Gauge({
    name: 'muster_broker_up',
    help: '1 while the broker can be read, 0 otherwise.',
    labelNames,
    registers,
  });
  const tracking = new Gauge({
    name: 'muster_broker_tracking',
    help: '1 while the broker pushes changes (client tracking), 0 while its queues are polled.',
    labelNames,
    registers,
  });
  const byBroker = new Map<string, Set<{ up: boolean; tracking: boolean }>>();

  return {
    acquire(broker) {
      const labels = { broker };
      const mine = { up: false, tracking: false };
      const all = byBroker.get(broker) ?? new Set();
      byBroker.set(broker, all.add(mine));
      const show = (): void => {
        up.set(labels, [...all].every((each) => each.up) ? 1 : 0);
        tracking.set(labels, [...all].every((each) => each.tracking) ? 1 : 0);
      };
      commands.inc(labels, 0);
      roundTrips.inc(labels, 0);
      show();
      return {
        sent: (count) => {
          commands.inc(labels, count);
          roundTrips.inc(labels);
        },
        state: (isUp, isTracking) => {
          Object.assign(mine, { up: isUp, tracking: isTracking });
          show();
        },
        release: () => {
          all.delete(mine);
          if (all.size > 0) return show();
          byBroker.delete(broker);
          for (const metric of [commands, roundTrips, up, tracking]) metric.remove(labels);
        },
      };
    },
  };
}
