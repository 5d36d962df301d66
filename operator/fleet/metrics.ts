/** Metrics of the workers' heartbeats. The label is `host:port/db`; endpoints that share it share the series. */
import { Counter, Gauge, type Registry } from 'prom-client';

/** What one subscription reports. */
export interface FleetSeries {
  heard(): void;
  malformed(): void;
  /** How many workers are known. */
  workers(count: number): void;
  /** Whether heartbeats are being listened for. */
  subscribed(is: boolean): void;
  /** Takes the series away, unless another subscription shares them. */
  release(): void;
}

/** Metrics of all subscriptions, created once per process. */
export interface FleetMetrics {
  acquire(broker: string): FleetSeries;
}

/** Registers the metrics. */
export function createFleetMetrics(registry: Registry): FleetMetrics {
  const registers = [registry];
  const labelNames = ['broker'] as const;
  const heartbeats = new Counter({
    name: 'muster_fleet_heartbeats_total',
    help: 'Heartbeats received from workers.',
    labelNames,
    registers,
  });
  const malformed = new Counter({
    name: 'muster_fleet_malformed_total',
    help: 'Messages on the channels of workers that could not be read.',
    labelNames,
    registers,
  });
  const workers = new Gauge({
    name: 'muster_fleet_workers',
    help: 'Workers known from their heartbeats, silent ones included until they are forgotten.',
    labelNames,
    registers,
  });
  const subscribed = new Gauge({
    name: 'muster_fleet_subscribed',
    help: '1 while heartbeats are listened for, 0 otherwise.',
    labelNames,
    registers,
  });
  const byBroker = new Map<string, Set<{ workers: number; subscribed: boolean }>>();

  return {
    acquire(broker) {
      const labels = { broker };
      const mine = { workers: 0, subscribed: false };
      const all = byBroker.get(broker) ?? new Set();
      byBroker.set(broker, all.add(mine));
      const show = (): void => {
        workers.set(
          labels,
          [...all].reduce((total, each) => total + each.workers, 0),
        );
        subscribed.set(labels, [...all].every((each) => each.subscribed) ? 1 : 0);
      };
      heartbeats.inc(labels, 0);
      malformed.inc(labels, 0);
      show();
      return {
        heard: () => heartbeats.inc(labels),
        malformed: () => malformed.inc(labels),
        workers: (count) => {
          mine.workers = count;
          show();
        },
        subscribed: (is) => {
          mine.subscribed = is;
          show();
        },
        release: () => {
          all.delete(mine);
          if (all.size > 0) return show();
          byBroker.delete(broker);
          for (const metric of [heartbeats, malformed, workers, subscribed]) metric.remove(labels);
        },
      };
    },
  };
}
