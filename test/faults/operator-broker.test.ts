// What a broker can do to a running operator: refuse it, die, load, turn into a replica, swallow every byte. Each is a
// condition within seconds, leaves the size of the pool alone, mends by itself, and touches no other pool.
import { expect } from 'chai';
import { resources, type RawDeployment } from '../../operator/kube/types.ts';
import { eventually } from '../support/eventually.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';
import { startRedisProxy } from '../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';

describe('the operator, while a broker fails', function () {
  this.timeout(90_000);
  let stage: Stage;
  let stall: Stall;
  /** The broker that is made to fail; the stage's own serves the pools that must not notice. */
  let redis: RedisServer;
  before(async () => {
    stage = await startStage(['--tick-ms', '500', '--full-read-ms', '2000']);
    redis = await startRedis();
  });
  after(async () => {
    await redis.stop();
    await stage.stop();
  });
  beforeEach(async () => {
    stall = await stage.stall();
  });

  // A new wording of the same reason (a killed Redis first closes what was connecting) is written after five seconds.
  const want = (name: string, type: string, pattern: RegExp, timeoutMs = 15_000): Promise<unknown> =>
    eventually(async () => expect(await stall.condition(name, type)).to.match(pattern), { timeoutMs });
  const wantReplicas = (name: string, count: number, timeoutMs = 10_000): Promise<unknown> =>
    eventually(async () => expect(await stall.replicas(name)).to.equal(count), { timeoutMs });
  const at = (url: string): ReturnType<Stall['pool']> => stall.pool('a').broker({ url }).scaling({ idleSeconds: 0 });
  const fromSecret = (): ReturnType<Stall['pool']> =>
    stall.pool('a').broker({ urlFrom: { secretKeyRef: { name: 'redis', key: 'url' } } });
  const push = (count: number, to = redis): Promise<unknown> =>
    to.command('LPUSH', `${stall.namespace}-a`, ...Array.from({ length: count }, () => '{}'));
  /** Every size that the pool's Deployment has from now on. */
  const watchSizes = async (): Promise<{ sizes: number[]; end: () => Promise<void> }> => {
    const sizes: number[] = [];
    const end = await stall.watch<RawDeployment>(resources.deployments, ({ spec }) => {
      if (spec?.replicas !== sizes.at(-1)) sizes.push(spec?.replicas ?? -1);
    });
    return { sizes, end };
  };

  it('broker killed: the size stays, and follows the queue again when the broker is back', async () => {
    await stall.apply(at(redis.url), 'settle');
    await push(3);
    await wantReplicas('a', 3);
    const { sizes, end } = await watchSizes();
    await redis.kill();
    await want('a', 'BrokerReachable', /^False\/Unreachable: .*refused the connection; check that Redis runs there/);
    await want('a', 'Ready', /^False\/(BrokerUnavailable|Unschedulable)/);
    await want('a', 'Scaling', /^False\/SignalUnknown: the size does not shrink: .*refused the connection/);
    expect((await stall.status('a')).tasks?.waiting, 'what is not known is absent, not 0').to.equal(undefined);
    await redis.start();
    await want('a', 'BrokerReachable', /^True\/Connected/);
    await wantReplicas('a', 0);
    await push(5);
    await wantReplicas('a', 5);
    // The watch may be a moment behind what was just read.
    await eventually(() => expect(sizes).to.deep.equal([3, 0, 5]));
    await end();
    await redis.command('FLUSHALL');
  });

  it('wrong password in the Secret: said without the password, and right after a rotation', async () => {
    await redis.command('ACL', 'SETUSER', 'shop', 'on', '>right-password', '~*', '&*', '+@all');
    const url = (password: string): string => redis.url.replace('//', `//shop:${password}@`);
    await stall.secret('redis', url('wrong-password'));
    await stall.apply(fromSecret());
    await want('a', 'BrokerReachable', /^False\/WrongPassword: .*does not accept the user and password of the URL/);
    await stall.secret('redis', url('right-password'));
    await want('a', 'BrokerReachable', /^True\/Connected/);
    await push(1);
    await wantReplicas('a', 1);
    // Rotated the other way round: the broker first.
    await redis.command('ACL', 'SETUSER', 'shop', 'resetpass', '>next-password');
    await redis.command('CLIENT', 'KILL', 'USER', 'shop');
    await want('a', 'BrokerReachable', /^False\/WrongPassword/);
    expect(await stall.replicas('a')).to.equal(1);
    await stall.secret('redis', url('next-password'));
    await want('a', 'BrokerReachable', /^True\/Connected/);
    const everything = JSON.stringify([stage.operator.log, await stall.get('a'), await stall.events()]);
    expect(everything).to.not.match(/(wrong|right|next)-password/);
    await redis.command('FLUSHALL');
  });

  it('database that does not exist: named, until the URL is right', async () => {
    await stall.apply(at(`${redis.url}/99`));
    await want('a', 'BrokerReachable', /^False\/WrongDatabase: .*has no database 99; write a number below/);
    await stall.patch('a', { broker: { url: `${redis.url}/9` } });
    await want('a', 'BrokerReachable', /^True\/Connected/);
    await want('a', 'Ready', /^True\/ScaledToZero/);
  });

  it('key that is no queue: only its pool says so, until the key is gone', async () => {
    await stall.apply(at(redis.url), 'settle');
    await redis.command('SET', `${stall.namespace}-a`, 'no list');
    await want('a', 'Scaling', /^False\/SignalUnknown: .*holds something else than a queue/, 15_000);
    await redis.command('DEL', `${stall.namespace}-a`);
    await want('a', 'Scaling', /^True\/Auto/, 15_000);
  });

  it('broker that becomes a replica: no worker could take a task from it, which is said until it is a master', async () => {
    await stall.apply(at(redis.url), 'settle');
    await redis.command('REPLICAOF', '127.0.0.1', stage.redis.port);
    await want(
      'a',
      'BrokerReachable',
      /^False\/ReadOnly: .*read-only replica.*write the address of the master/,
      15_000,
    );
    await redis.command('REPLICAOF', 'NO', 'ONE');
    await want('a', 'BrokerReachable', /^True\/Connected/);
    await redis.command('FLUSHALL');
  });

  it('broker that loads its data after a start: the size stays meanwhile', async () => {
    await stall.apply(at(redis.url), 'settle');
    await push(2);
    for (let part = 0; part < 20; part += 1) {
      const pairs = Array.from({ length: 500 }, (_, index) => [`filler:${part}:${index}`, 'x']).flat();
      await redis.command('MSET', ...pairs);
    }
    await wantReplicas('a', 2);
    // Microseconds of sleep for each key while it loads.
    await redis.restart({
      keepData: true,
      wait: false,
      config: { 'key-load-delay': 400, 'loading-process-events-interval-bytes': 1024 },
    });
    await want('a', 'BrokerReachable', /^False\/Loading: .*is loading its data after a start/);
    expect(await stall.replicas('a')).to.equal(2);
    await want('a', 'BrokerReachable', /^True\/Connected/, 30_000);
    expect(await stall.replicas('a')).to.equal(2);
    await redis.restart();
  });

  it('broker that swallows everything: its pool says so, and the pools of other brokers go on at once', async () => {
    const proxy = await startRedisProxy(redis.port);
    try {
      await stall.apply(at(`redis://127.0.0.1:${proxy.port}/0`), 'settle');
      await stall.apply(stall.pool('b'), 'settle');
      proxy.blackhole(true);
      await want('a', 'BrokerReachable', /^False\/Unreachable: .*did not answer/, 20_000);
      // Several of them, so that a worker of the reconciler that hangs would be missed.
      for (const name of ['c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'])
        await stall.apply(stall.pool(name).broker({ url: `redis://127.0.0.1:${proxy.port}/0` }));
      for (let count = 1; count <= 5; count += 1) {
        await stall.push(`${stall.namespace}-b`);
        await wantReplicas('b', count);
      }
      proxy.blackhole(false);
      await want('a', 'BrokerReachable', /^True\/Connected/);
    } finally {
      await proxy.close();
    }
  });
});
