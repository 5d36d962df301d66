/**
 * Every way in which a broker fails, on real servers: the sampler says what is wrong in one sentence, knows nothing
 * meanwhile, and goes on by itself when the cause is gone.
 */
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import type { BrokerState } from '../../operator/broker/reading.ts';
import { startRedisProxy, type RedisProxy } from '../support/redisProxy.ts';
import { startRedis, type RedisServer, type RedisServerOptions } from '../support/redisServer.ts';
import { reading, startSampler, type TestSampler, type TestSamplerOptions } from '../support/redisSampler.ts';
import { eventually } from '../support/eventually.ts';

const password = 'tops3cret';

describe('faults of a broker', () => {
  const endings: (() => Promise<void>)[] = [];
  const samplers: TestSampler[] = [];
  const server = async (options?: RedisServerOptions): Promise<RedisServer> => {
    const started = await startRedis(options);
    endings.push(() => started.stop());
    return started;
  };
  const proxy = async (target: RedisServer): Promise<RedisProxy> => {
    const started = await startRedisProxy(target.port);
    endings.push(() => started.close());
    return started;
  };
  const sample = (options: TestSamplerOptions): TestSampler => {
    const started = startSampler(options);
    samplers.push(started);
    return started;
  };
  afterEach(async () => {
    // No test may leave a password in a line, whatever went wrong in it.
    const lines = samplers.flatMap((each) => each.lines).join('\n');
    await Promise.all(samplers.splice(0).map((each) => each.close()));
    for (const end of endings.splice(0).reverse()) await end();
    expect(lines).not.to.contain(password);
    expect(lines).not.to.contain('"level":"error"');
  });
  /** The failure's sentence; checks that the readings say the same and that nobody's password is in it. */
  const sentence = (sampler: TestSampler, state: BrokerState): string => {
    if (state.kind !== 'failed') throw new Error(`the state is ${state.kind}`);
    expect(sampler.value('celery')).to.deep.equal({ kind: 'unknown', why: state.message });
    expect(state.message).to.match(/^broker \S+:\d+\/\d+:? /);
    expect(state.message).not.to.match(/tops3cret|:\/\/[^ ]*@/);
    return state.message;
  };

  it('a broker that is killed, and started again', async () => {
    const redis = await server();
    const sampler = sample({ url: redis.url });
    await redis.command('LPUSH', 'celery', 'a');
    await sampler.until('celery', reading(1));
    await redis.kill();
    // The very first attempt may still meet the dying process, which closes the connection instead of refusing it.
    await eventually(async () => {
      expect(sentence(sampler, await sampler.untilState('Unreachable'))).to.match(/refused the connection; check/);
    });
    expect(await sampler.metric('muster_broker_up')).to.equal(0);
    await redis.start();
    await sampler.until('celery', reading(0));
    expect(await sampler.untilState('ok')).to.deep.equal({ kind: 'ok', tracking: 'push' });
    expect(await sampler.metric('muster_broker_up')).to.equal(1);
    await redis.command('LPUSH', 'celery', 'a', 'b');
    await sampler.until('celery', reading(2));
  });

  it('a broker that is not there yet when the pool is made', async () => {
    const redis = await server();
    await redis.kill();
    const sampler = sample({ url: redis.url });
    sentence(sampler, await sampler.untilState('Unreachable'));
    await redis.start();
    await sampler.until('celery', reading(0));
  });

  it('a restart so quick that nobody needs to hear of it', async () => {
    const redis = await server();
    const front = await proxy(redis);
    const sampler = sample({ url: `redis://127.0.0.1:${front.port}` });
    await sampler.until('celery', reading(0));
    front.resetAll();
    await eventually(() => front.accepted >= 4);
    await redis.command('LPUSH', 'celery', 'a');
    await sampler.until('celery', reading(1));
    expect(sampler.changes.filter((change) => change === 'state')).to.have.length(1);
  });

  it('a host name that does not resolve', async () => {
    const sampler = sample({ url: 'redis://no-such-host.invalid' });
    expect(sentence(sampler, await sampler.untilState('Unreachable'))).to.match(/resolve/);
  });

  it('a broker that accepts and never answers', async () => {
    const redis = await server();
    const front = await proxy(redis);
    front.blackhole(true);
    const sampler = sample({ url: `redis://127.0.0.1:${front.port}`, timeoutMs: 200 });
    expect(sentence(sampler, await sampler.untilState('Unreachable'))).to.match(/did not answer within 0\.2 s/);
    front.blackhole(false);
    await sampler.until('celery', reading(0));
  });

  const passwords: Record<string, { userinfo: string; mend: (redis: RedisServer) => Promise<unknown>; want: RegExp }> =
    {
      'a wrong password': {
        userinfo: `:${password}@`,
        mend: (redis) => redis.command('CONFIG', 'SET', 'requirepass', password),
        want: /does not accept the user and password/,
      },
      'no password where one is wanted': {
        userinfo: '',
        mend: (redis) => redis.command('CONFIG', 'SET', 'requirepass', ''),
        want: /wants a password and the URL has none/,
      },
      'a user that does not exist': {
        userinfo: `muster:${password}@`,
        mend: (redis) => redis.command('ACL', 'SETUSER', 'muster', 'on', `>${password}`, '~*', '&*', '+@all'),
        want: /does not accept the user and password/,
      },
    };
  for (const [name, tc] of Object.entries(passwords)) {
    it(name, async () => {
      const redis = await server({ config: { requirepass: 'another' } });
      const sampler = sample({ url: redis.url.replace('://', `://${tc.userinfo}`) });
      expect(sentence(sampler, await sampler.untilState('WrongPassword'))).to.match(tc.want);
      await tc.mend(redis);
      await sampler.until('celery', reading(0));
    });
  }

  it('a password where none is set, at which Celery fails too', async () => {
    const redis = await server();
    const sampler = sample({ url: redis.url.replace('://', `://:${password}@`) });
    expect(sentence(sampler, await sampler.untilState('WrongPassword'))).to.match(/take it out of the URL/);
  });

  it('a database that is out of range, and not database 0 instead', async () => {
    const redis = await server({ config: { databases: 4 } });
    await redis.command('LPUSH', 'celery', 'of database 0');
    const sampler = sample({ url: `${redis.url}/4` });
    expect(sentence(sampler, await sampler.untilState('WrongDatabase'))).to.match(/has no database 4; write a number/);
    await redis.restart({ config: { databases: 16 } });
    await sampler.until('celery', reading(0));
  });

  it('a command that the ACL refuses, named, and permitted later', async () => {
    const redis = await server({ users: [`muster on >${password} ~* &* +@all -llen`] });
    const sampler = sample({ url: redis.url.replace('://', `://muster:${password}@`) });
    expect(sentence(sampler, await sampler.untilState('NoPermission'))).to.match(/LLEN on celery; allow it/);
    await redis.command('ACL', 'SETUSER', 'muster', '+llen');
    await sampler.until('celery', reading(0));
  });

  it('one queue that the ACL does not permit leaves the others readable', async () => {
    const redis = await server({ users: [`muster on >${password} ~celery* ~unacked &* +@all`] });
    const url = redis.url.replace('://', `://muster:${password}@`);
    const sampler = sample({ url, queues: ['celery', 'secret'] });
    await sampler.until('celery', reading(0));
    await sampler.until('secret', 'unknown');
    expect(sampler.value('secret'))
      .to.have.property('why')
      .that.matches(/LLEN on secret; allow it/);
    await redis.command('ACL', 'SETUSER', 'muster', '~secret*');
    await sampler.until('secret', reading(0));
  });

  it('a key of another type makes that queue unknown and no other', async () => {
    const redis = await server();
    await redis.command('SET', 'celery\x06\x163', 'x');
    await redis.command('LPUSH', 'other', 'a');
    const sampler = sample({ url: redis.url, queues: ['celery', 'other'], fullReadMs: 600_000 });
    await sampler.until('other', reading(1));
    await sampler.until('celery', 'unknown');
    expect(sampler.value('celery'))
      .to.have.property('why')
      .that.matches(/celery \(priority 3\).*delete or rename/);
    expect(sampler.sampler.state()).to.deep.equal({ kind: 'ok', tracking: 'push' });
    await redis.command('DEL', 'celery\x06\x163');
    await sampler.until('celery', reading(0));
  });

  it('a broker that loads its data after a start', async () => {
    const redis = await server();
    for (let i = 0; i < 3000; i += 1000) {
      await redis.command(
        'EVAL',
        `for i = 1, 1000 do redis.call('SET', 'k' .. (${i} + i), string.rep('x', 100)) end`,
        0,
      );
    }
    await redis.command('LPUSH', 'celery', 'a');
    const sampler = sample({ url: redis.url });
    await sampler.until('celery', reading(1));
    // A thousand microseconds a key: the dump takes three seconds to load.
    const config = { 'key-load-delay': 1000, 'loading-process-events-interval-bytes': 1024 };
    await redis.restart({ keepData: true, config, wait: false });
    expect(sentence(sampler, await sampler.untilState('Loading'))).to.match(/is loading its data/);
    await sampler.until('celery', reading(1), 20_000);
  });

  it('a broker that becomes a read-only replica, and a master again', async () => {
    const [master, redis] = [await server(), await server()];
    const sampler = sample({ url: redis.url });
    await sampler.until('celery', reading(0));
    await redis.command('REPLICAOF', '127.0.0.1', master.port);
    expect(sentence(sampler, await sampler.untilState('ReadOnly'))).to.match(/write the address of the master/);
    await redis.command('REPLICAOF', 'NO', 'ONE');
    await sampler.until('celery', reading(0));
  });

  it('a writable replica is no fault', async () => {
    const [master, redis] = [await server(), await server({ config: { 'replica-read-only': 'no' } })];
    await redis.command('REPLICAOF', '127.0.0.1', master.port);
    const sampler = sample({ url: redis.url });
    await sampler.until('celery', reading(0));
  });

  describe('TLS', () => {
    it('a certificate of an authority that nobody vouched for', async () => {
      const redis = await server({ tls: true });
      const sampler = sample({ url: redis.url });
      expect(sentence(sampler, await sampler.untilState('TLSFailed'))).to.match(/broker\.tls\.caFrom/);
      await sample({ url: `${redis.url}?ssl_cert_reqs=none` }).until('celery', reading(0));
    });

    it('a certificate for another name', async () => {
      const redis = await server({ tls: true });
      const url = `rediss://127.1.1.1:${redis.port}`;
      await redis.restart({ config: { bind: '127.1.1.1' } });
      const sampler = sample({ url, caPem: redis.caPem });
      expect(sentence(sampler, await sampler.untilState('TLSFailed'))).to.match(/another host name/);
      await sample({ url: `${url}?ssl_check_hostname=false`, caPem: redis.caPem }).until('celery', reading(0));
    });

    it('TLS to a port that speaks none', async () => {
      const redis = await server();
      const sampler = sample({ url: redis.url.replace('redis:', 'rediss:'), timeoutMs: 300 });
      expect(sentence(sampler, await sampler.untilState('TLSFailed'))).to.match(/write redis:\/\//);
    });

    it('no TLS to a port that wants it', async () => {
      const redis = await server({ tls: true });
      const sampler = sample({ url: redis.url.replace('rediss:', 'redis:') });
      expect(sentence(sampler, await sampler.untilState('Unreachable'))).to.match(/rediss:\/\//);
    });
  });

  describe('connections', () => {
    let redis: RedisServer;
    let client: Redis;
    let front: RedisProxy;
    beforeEach(async () => {
      redis = await server();
      client = redis.client();
      front = await proxy(redis);
    });
    const through = (options: Partial<TestSamplerOptions> = {}): TestSampler =>
      sample({ url: `redis://127.0.0.1:${front.port}`, timeoutMs: 200, ...options });
    const idOf = async (name: string): Promise<string> => {
      const list = (await client.client('LIST')) as string;
      return /id=(\d+)/.exec(list.split('\n').find((line) => line.includes(`name=${name} `)) ?? '')?.[1] ?? '';
    };

    it('both half-open, while nobody has anything to say', async () => {
      const sampler = through();
      await sampler.until('celery', reading(0));
      await client.lpush('celery', 'a');
      await sampler.until('celery', reading(1));
      front.blackhole(true);
      await client.lpush('celery', 'b');
      expect(sentence(sampler, await sampler.untilState('Unreachable'))).to.match(/did not answer within/);
      front.blackhole(false);
      await sampler.until('celery', reading(2));
    });

    for (const [name, half] of [
      ['muster-sampler', 'the one that reads'],
      ['muster-invalidations', 'the one that is told'],
    ] as const) {
      it(`${half} half-open alone`, async () => {
        const sampler = through();
        await sampler.until('celery', reading(0));
        expect(front.swallow(name)).to.equal(1);
        await client.lpush('celery', 'a');
        await sampler.until('celery', reading(1));
        // And announcements come again: long before the next full read would see it.
        await eventually(() => front.accepted >= 4);
        await sampler.untilState('ok');
      });

      it(`${half} killed by an administrator`, async () => {
        const sampler = through({ fullReadMs: 600_000 });
        await sampler.until('celery', reading(0));
        await client.client('KILL', 'ID', await idOf(name));
        await eventually(() => front.accepted >= 4);
        await eventually(async () => (await idOf('muster-invalidations')) !== '');
        await sampler.until('celery', reading(0));
        await client.lpush('celery', 'a');
        await sampler.until('celery', reading(1));
        expect(sampler.lines.filter((line) => line.includes('cannot be read'))).to.deep.equal([]);
      });
    }

    it('a redirect that Redis has lost, while both connections look alive from here', async () => {
      const sampler = through();
      await sampler.until('celery', reading(0));
      // Redis' end of the subscriber is closed, and ours never hears of it.
      front.swallow('muster-invalidations');
      await client.client('KILL', 'ID', await idOf('muster-invalidations'));
      await client.lpush('celery', 'a');
      await sampler.until('celery', reading(1));
      await eventually(() => sampler.lines.some((line) => line.includes('stopped announcing')));
      await eventually(() => front.accepted >= 4);
      expect(sampler.sampler.state().kind).to.equal('ok');
    });

    it('a broker that drops every connection at once is not hammered', async () => {
      const sampler = through();
      await sampler.until('celery', reading(0));
      front.refuse(true);
      front.resetAll();
      sentence(sampler, await sampler.untilState('Unreachable'));
      const before = front.accepted;
      await new Promise((resolve) => setTimeout(resolve, 1000)); // bounded by the backoff, whatever the machine's speed
      expect(front.accepted - before).to.be.lessThan(20);
      front.refuse(false);
      await sampler.until('celery', reading(0));
    });

    it('closing does not wait for a broker that does not answer', async () => {
      front.blackhole(true);
      const sampler = through({ timeoutMs: 60_000 });
      await eventually(() => front.open > 0);
      const startMs = performance.now();
      await sampler.close();
      expect(performance.now() - startMs).to.be.lessThan(1000);
    });
  });

  it('a broken broker does not slow another one down', async () => {
    const [good, bad] = [await server(), await server()];
    const front = await proxy(bad);
    front.blackhole(true);
    const sampler = sample({ url: good.url, tickMs: 60_000, fullReadMs: 600_000 });
    for (let i = 0; i < 20; i += 1) {
      const broken = [`redis://127.0.0.1:${front.port}/${i}`, `redis://127.0.0.1:1/${i}`][i % 2] ?? '';
      const endpoint = sample({ url: broken }).endpoint;
      sampler.brokers.acquire(endpoint, `shop/broken-${i}`, ['celery']);
    }
    await sampler.until('celery', reading(0), 2000);
    const startMs = performance.now();
    await good.command('LPUSH', 'celery', 'a');
    await sampler.until('celery', reading(1), 1000);
    expect(performance.now() - startMs).to.be.lessThan(1000);
  });
});
