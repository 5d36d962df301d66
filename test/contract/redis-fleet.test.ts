/** Listening to heartbeats on a real Redis: the bytes of a real worker, several pools, lost subscriptions. */
import { expect } from 'chai';
import { Registry } from 'prom-client';
import { poolActivity } from '../../operator/fleet/activity.ts';
import { createFleet, type Fleet } from '../../operator/fleet/fleet.ts';
import { createFleetMetrics } from '../../operator/fleet/metrics.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';
import { collectingLog, endpointOf } from '../support/redisSampler.ts';
import { createSteppedClock } from '../support/steppedClock.ts';
import { envelope, heartbeatChannel, published } from '../unit/broker/kombuBytes.ts';

const beat = (hostname: string, more: object = {}): string =>
  envelope({ type: 'worker-heartbeat', hostname, active: 0, processed: 0, freq: 2, ...more });
const extra = (pool: string, running: Record<string, number> = {}): object => ({
  muster: { v: 1, pool, queues: [], running, held: {}, scheduled: 0, problems: [] },
});
const channel = '/0.celeryev/worker.heartbeat';

describe('listening to workers', () => {
  let server: RedisServer;
  let registry: Registry;
  let fleet: Fleet;
  let told: string[];
  let lines: string[];
  const start = (clock = systemClock): Fleet => {
    registry = new Registry();
    lines = [];
    fleet = createFleet({ clock, log: collectingLog(lines), metrics: createFleetMetrics(registry) });
    told = [];
    fleet.onChange((poolKey) => told.push(poolKey));
    return fleet;
  };
  const listening = (id: string): Promise<unknown> => eventually(() => fleet.subscribedSince(id) !== undefined);
  /** Publishes until somebody hears it, and gives how many did. */
  const publish = (text: string, to = channel): Promise<unknown> => server.command('PUBLISH', to, text);
  const metric = async (name: string): Promise<number | undefined> =>
    (await registry.getSingleMetric(name)?.get())?.values[0]?.value;

  before(async () => {
    server = await startRedis({ users: ['quiet on >pw ~* +@all', 'muster on >pw ~* &* +@all'] });
  });
  after(() => server.stop());
  afterEach(async () => {
    await fleet.close();
    expect(lines.filter((line) => line.includes('"level":"error"'))).to.deep.equal([]);
  });

  it('hears a real worker, with database and key prefix in the channel', async () => {
    start();
    const endpoint = endpointOf({ url: `${server.url}/3`, keyPrefix: 'team:' });
    fleet.acquire(endpoint, 'shop/reports');
    await listening(endpoint.id);
    expect(await publish(published.heartbeat, heartbeatChannel)).to.equal(1);
    await eventually(() => fleet.reports('shop/reports').length === 1);
    expect(told).to.include('shop/reports');
    expect(fleet.report('shop', 'reports', 'reports-5c9d-abcde')).to.deep.include({
      hostname: 'reports@reports-5c9d-abcde',
      pool: 'shop/reports',
      active: 0,
    });
    expect(await metric('muster_fleet_heartbeats_total')).to.equal(1);
    expect(await metric('muster_fleet_workers')).to.equal(1);
    await publish(published.offline, heartbeatChannel.replace('heartbeat', 'offline'));
    await eventually(() => fleet.reports('shop/reports').length === 0);
    expect(await metric('muster_fleet_workers')).to.equal(0);
  });

  it('tells each pool of its own workers, over one subscription', async () => {
    start();
    const endpoint = endpointOf({ url: server.url });
    for (const pool of ['shop/a', 'bank/a', 'shop/b']) fleet.acquire(endpoint, pool);
    await listening(endpoint.id);
    told.length = 0;
    expect(await publish(beat('a@p1', extra('shop/a', { q: 2 })))).to.equal(1);
    await eventually(() => told.length > 0);
    expect(told).to.deep.equal(['shop/a']);
    await publish(beat('a@p1', extra('shop/a', { q: 2 }))); // says what it said before
    await publish(beat('a@p2'));
    await eventually(() => told.length === 3);
    expect(told.sort()).to.deep.equal(['bank/a', 'shop/a', 'shop/a']);
    const activity = poolActivity(fleet.reports('shop/a'), ['p1', 'p2'], systemClock.monotonicMs());
    expect(activity).to.include({ kind: 'ok', running: 2 });
  });

  it('counts what it cannot read and goes on', async () => {
    start();
    const endpoint = endpointOf({ url: server.url });
    fleet.acquire(endpoint, 'shop/a');
    await listening(endpoint.id);
    await publish('not even JSON');
    await publish(beat('a@p1', { muster: { v: 1, running: 'x' } }));
    await eventually(() => fleet.reports('shop/a').length === 1);
    expect(await metric('muster_fleet_malformed_total')).to.equal(2);
    expect(fleet.reports('shop/a')[0]).not.to.have.property('extra');
  });

  it('tells when a worker falls silent, by its own clock and not the worker’s', async () => {
    const clock = createSteppedClock();
    start(clock);
    const endpoint = endpointOf({ url: server.url });
    fleet.acquire(endpoint, 'shop/a');
    await listening(endpoint.id);
    await publish(beat('a@p1', { timestamp: 4_000_000_000 }));
    await eventually(() => fleet.reports('shop/a').length === 1);
    told.length = 0;
    await clock.step(8_000);
    clock.skew(86_400_000);
    expect(told).to.deep.equal([]);
    expect(poolActivity(fleet.reports('shop/a'), ['p1'], clock.monotonicMs()).kind).to.equal('ok');
    await clock.step(4_000);
    expect(told).to.deep.equal(['shop/a']);
    expect(poolActivity(fleet.reports('shop/a'), ['p1'], clock.monotonicMs()).kind).to.equal('unknown');
  });

  it('says why heartbeats cannot be heard, and hears them when it may', async () => {
    start();
    const endpoint = endpointOf({ url: server.url.replace('://', '://quiet:pw@') });
    fleet.acquire(endpoint, 'shop/a');
    await eventually(() => fleet.problem('shop/a') !== undefined);
    expect(fleet.problem('shop/a')).to.match(/PSUBSCRIBE \/0\.celeryev\/worker\.\*; allow it in the user's ACL/);
    expect(fleet.subscribedSince(endpoint.id)).to.equal(undefined);
    await server.command('ACL', 'SETUSER', 'quiet', '&*');
    await listening(endpoint.id);
    expect(fleet.problem('shop/a')).to.equal(undefined);
    expect(told.length).to.be.greaterThan(0);
  });

  it('hears again after its subscription was killed and after the broker was', async () => {
    start();
    const endpoint = endpointOf({ url: server.url });
    fleet.acquire(endpoint, 'shop/a');
    await listening(endpoint.id);
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await eventually(async () => (await publish(beat('a@p1'))) === 1);
    await eventually(() => fleet.reports('shop/a').length === 1);
    expect(fleet.problem('shop/a')).to.equal(undefined);
    await server.kill();
    await eventually(() => fleet.problem('shop/a') !== undefined);
    expect(fleet.problem('shop/a')).to.match(/refused the connection|closed the connection/);
    await server.start();
    await eventually(async () => (await publish(beat('a@p2'))) === 1);
    await eventually(() => fleet.reports('shop/a').length === 2);
  });

  it('lets go of the subscription and the series with the last pool', async () => {
    start();
    const endpoint = endpointOf({ url: server.url });
    fleet.acquire(endpoint, 'shop/a');
    fleet.acquire(endpoint, 'shop/b');
    await listening(endpoint.id);
    fleet.release('shop/a');
    expect(fleet.subscribedSince(endpoint.id)).not.to.equal(undefined);
    fleet.release('shop/b');
    await eventually(async () => (await publish(beat('a@p1'))) === 0);
    await eventually(async () => !(await registry.metrics()).includes('broker='));
    expect(fleet.reports('shop/a')).to.deep.equal([]);
  });

  it('follows a pool to another broker', async () => {
    start();
    const [one, two] = [endpointOf({ url: server.url }), endpointOf({ url: `${server.url}/1` })];
    fleet.acquire(one, 'shop/a');
    await listening(one.id);
    await publish(beat('a@p1'));
    await eventually(() => fleet.reports('shop/a').length === 1);
    fleet.acquire(two, 'shop/a');
    await listening(two.id);
    expect(fleet.reports('shop/a')).to.deep.equal([]);
    await publish(beat('a@p2'), '/1.celeryev/worker.heartbeat');
    await eventually(() => fleet.reports('shop/a')[0]?.pod === 'p2');
  });
});
