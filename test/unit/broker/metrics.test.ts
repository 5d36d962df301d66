import { expect } from 'chai';
import { Registry } from 'prom-client';
import { createBrokerMetrics } from '../../../operator/broker/metrics.ts';

const valuesOf = async (registry: Registry, name: string): Promise<{ broker: unknown; value: number }[]> => {
  const metric = await registry.getSingleMetric(name)?.get();
  return (metric?.values ?? []).map(({ labels, value }) => ({ broker: labels['broker'], value }));
};

describe('createBrokerMetrics', () => {
  it('starts every series at 0 and takes them away with the broker', async () => {
    const registry = new Registry();
    const series = createBrokerMetrics(registry).acquire('redis:6379/0');
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    expect(names).to.have.members([
      'muster_broker_commands_total',
      'muster_broker_round_trips_total',
      'muster_broker_up',
      'muster_broker_tracking',
    ]);
    for (const name of names) {
      expect(await valuesOf(registry, name)).to.deep.equal([{ broker: 'redis:6379/0', value: 0 }]);
    }
    series.release();
    for (const name of names) expect(await valuesOf(registry, name)).to.deep.equal([]);
  });

  it('says up only when every sampler of that address is, and keeps the series for the last of them', async () => {
    const registry = new Registry();
    const metrics = createBrokerMetrics(registry);
    const [one, two] = [metrics.acquire('r'), metrics.acquire('r')];
    one.state(true, true);
    expect(await valuesOf(registry, 'muster_broker_up')).to.deep.equal([{ broker: 'r', value: 0 }]);
    two.state(true, false);
    expect(await valuesOf(registry, 'muster_broker_up')).to.deep.equal([{ broker: 'r', value: 1 }]);
    expect(await valuesOf(registry, 'muster_broker_tracking')).to.deep.equal([{ broker: 'r', value: 0 }]);
    two.release();
    expect(await valuesOf(registry, 'muster_broker_tracking')).to.deep.equal([{ broker: 'r', value: 1 }]);
  });

  it('counts commands and round trips', async () => {
    const registry = new Registry();
    const series = createBrokerMetrics(registry).acquire('r');
    series.sent(40);
    series.sent(2);
    expect(await valuesOf(registry, 'muster_broker_commands_total')).to.deep.equal([{ broker: 'r', value: 42 }]);
    expect(await valuesOf(registry, 'muster_broker_round_trips_total')).to.deep.equal([{ broker: 'r', value: 2 }]);
  });
});
