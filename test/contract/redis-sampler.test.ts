/** Sampling a real Redis: every way to connect, what counts as ready and held, and what it costs. */
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { startRedis, type RedisServer } from '../support/redisServer.ts';
import { reading, startSampler, type TestSampler, type TestSamplerOptions } from '../support/redisSampler.ts';
import { eventually } from '../support/eventually.ts';

/** Rights that a sampler needs, and no more. */
const leastRights =
  'resetchannels &__redis__:invalidate ~* -@all +llen +hlen +hscan +smembers +eval +info +ping +subscribe +client|id +client|setname +client|tracking +client|trackinginfo';
const password = 'p@ss/w:rd';
const inUrl = encodeURIComponent(password);

/** Times in which nothing is read but what was announced. */
const announcedOnly = { tickMs: 60_000, fullReadMs: 600_000 };

describe('sampling Redis', () => {
  const open: TestSampler[] = [];
  const start = (options: TestSamplerOptions): TestSampler => {
    const sampler = startSampler(options);
    open.push(sampler);
    return sampler;
  };
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()));
  });

  describe('a plain server', () => {
    let server: RedisServer;
    let client: Redis;
    before(async () => {
      server = await startRedis();
      client = server.client();
    });
    after(() => server.stop());
    beforeEach(() => client.flushall());

    it('knows nothing before the first read and everything after it', async () => {
      await client.lpush('celery', 'a', 'b');
      const { sampler, value, until, untilState } = start({ url: server.url, queues: ['celery', 'empty'] });
      expect(sampler.state()).to.deep.equal({ kind: 'connecting' });
      expect(value('celery')).to.deep.equal({ kind: 'unknown', why: 'not read yet' });
      await until('celery', reading(2));
      await until('empty', reading(0));
      expect(await untilState('ok')).to.deep.equal({ kind: 'ok', tracking: 'push' });
    });

    it('sums the lists of all priorities', async () => {
      await client.lpush('celery', 'a');
      for (const step of [3, 6, 9]) await client.lpush(`celery\x06\x16${step}`, 'b', 'c');
      const { until } = start({ url: server.url });
      await until('celery', reading(7));
    });

    it('reads the priority steps of the app and no others', async () => {
      await client.lpush('celery\x06\x165', 'a', 'b');
      await client.lpush('celery\x06\x163', 'not a step of this app');
      const { until } = start({ url: server.url, prioritySteps: [0, 5] });
      await until('celery', reading(2));
    });

    it('reads the database of the URL', async () => {
      const other = server.client(7);
      await other.lpush('celery', 'a', 'b', 'c');
      await client.lpush('celery', 'in database 0');
      const { until, endpoint } = start({ url: `${server.url}/7` });
      await until('celery', reading(3));
      expect(endpoint.display).to.match(/\/7$/);
    });

    it('reads under the key prefix of the app', async () => {
      await client.lpush('team:celery', 'a');
      await client.lpush('celery', 'of another team', 'b');
      await client.hset('team:unacked', 'tag', '[{}, "", "celery"]');
      const { until } = start({ url: server.url, keyPrefix: 'team:' });
      await until('celery', reading(1, 1));
    });

    it('is told of a change and has read it a few milliseconds later, without a tick', async () => {
      const { until, changes } = start({ url: server.url, queues: ['celery', 'other'], ...announcedOnly });
      await until('other', reading(0));
      await client.lpush('celery', 'a');
      await until('celery', reading(1), 5000);
      expect(changes).to.deep.include(['celery']);
      await client.multi().lpush('celery\x06\x169', 'b').rpop('celery').exec();
      await client.hset('unacked', 'tag', '[{}, "", "celery"]');
      await until('celery', reading(1, 1), 5000);
    });

    it('reads again after a FLUSHALL', async () => {
      await client.lpush('celery', 'a');
      const { until } = start({ url: server.url, tickMs: 200, fullReadMs: 600_000 });
      await until('celery', reading(1));
      await client.flushall();
      await until('celery', reading(0), 5000);
    });

    it('reads a queue that changes all the time once per tick, not once per change', async () => {
      const { until, metric } = start({ url: server.url, tickMs: 500, fullReadMs: 600_000 });
      await until('celery', reading(0));
      const before = await metric('muster_broker_round_trips_total');
      const untilMs = performance.now() + 2000;
      let pushes = 0;
      while (performance.now() < untilMs) {
        await client.lpush('celery', 'x');
        pushes += 1;
      }
      const trips = (await metric('muster_broker_round_trips_total')) - before;
      expect(pushes).to.be.greaterThan(100);
      // Four ticks, and the three quick reads at the beginning.
      expect(trips).to.be.lessThan(12);
      await until('celery', reading(pushes), 5000);
    });

    it('starts and stops reading queues as pools come and go', async () => {
      await client.lpush('late', 'a');
      const { brokers, endpoint, sampler, until, value } = start({ url: server.url, ...announcedOnly });
      await until('celery', reading(0));
      expect(brokers.acquire(endpoint, 'shop/late', ['late', 'celery'])).to.equal(sampler);
      await until('late', reading(1), 5000);
      brokers.acquire(endpoint, 'shop/late', ['celery']);
      expect(value('late').kind).to.equal('unknown');
      brokers.release('shop/pool');
      expect(value('celery')).to.deep.equal(reading(0));
      brokers.release('shop/late');
      expect(value('celery').kind).to.equal('unknown');
    });

    it('takes its series away and its connections down with its last pool', async () => {
      const { brokers, until, registry } = start({ url: server.url });
      await until('celery', reading(0));
      brokers.release('shop/pool');
      await eventually(async () => {
        expect(await registry.metrics()).not.to.match(/broker=/);
        expect(await server.command('CLIENT', 'LIST')).not.to.match(/name=muster-/);
      });
    });

    it('sends no command at all on idle ticks with 1,000 queues', async () => {
      const queues = Array.from({ length: 1000 }, (_, i) => `queue-${i}`);
      const { until, metric } = start({ url: server.url, queues, tickMs: 20, fullReadMs: 600_000 });
      await until('queue-999', reading(0));
      const sent = await metric('muster_broker_commands_total');
      const served = async (): Promise<number> =>
        Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1]);
      const before = await served();
      await new Promise((resolve) => setTimeout(resolve, 500)); // 25 ticks in which nothing may happen
      expect(await metric('muster_broker_commands_total')).to.equal(sent);
      expect(await served()).to.equal(before + 1); // our own INFO
    });

    it('asks once for a thousand lists whether queues are still empty', async () => {
      const queues = Array.from({ length: 1000 }, (_, i) => `queue-${i}`);
      const { until, metric } = start({ url: server.url, queues, tickMs: 60_000, fullReadMs: 100 });
      await until('queue-999', reading(0));
      await client.lpush('queue-7', 'a');
      await until('queue-7', reading(1), 5000);
      await client.config('RESETSTAT');
      const trips = await metric('muster_broker_round_trips_total');
      await eventually(async () => (await metric('muster_broker_round_trips_total')) >= trips + 3);
      const calls = async (command: string): Promise<number> =>
        Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await client.info('commandstats'))?.[1] ?? 0);
      expect(await calls('exists')).to.be.greaterThan(0);
      // Only the queue that is not empty is asked for its lengths: four lists.
      expect((await calls('llen')) / (await calls('exists'))).to.be.within(0.5, 1.5);
    });

    it('reads only the queues that changed, all of them in one round trip', async () => {
      const queues = Array.from({ length: 1000 }, (_, i) => `queue-${i}`);
      const { until, metric } = start({ url: server.url, queues, ...announcedOnly });
      await until('queue-999', reading(0));
      const commands = await metric('muster_broker_commands_total');
      const trips = await metric('muster_broker_round_trips_total');
      await client.multi().lpush('queue-3', 'a').lpush('queue-500', 'a').lpush('queue-999', 'a').exec();
      for (const queue of ['queue-3', 'queue-500', 'queue-999']) await until(queue, reading(1), 5000);
      expect((await metric('muster_broker_commands_total')) - commands).to.equal(12);
      expect((await metric('muster_broker_round_trips_total')) - trips).to.be.within(1, 2);
    });
  });

  const connections: Record<
    string,
    { options: Parameters<typeof startRedis>[0]; wantPush: boolean; userinfo?: string; wantWhy?: RegExp }
  > = {
    'a password': { options: { config: { requirepass: password } }, userinfo: `:${inUrl}@`, wantPush: true },
    'an ACL user with the least rights': {
      options: { users: [`muster on >${password} ${leastRights}`] },
      userinfo: `muster:${inUrl}@`,
      wantPush: true,
    },
    'TLS with a certificate authority': { options: { tls: true }, wantPush: true },
    'an ACL user without client tracking': {
      options: { users: [`muster on >${password} ${leastRights.replace('+client|tracking ', '')}`] },
      userinfo: `muster:${inUrl}@`,
      wantPush: false,
      wantWhy: /run CLIENT TRACKING; allow \+client\|id/,
    },
    'an ACL user without client tracking who may ask for many lists at once': {
      options: {
        users: [`muster on >${password} ${leastRights.replace('+client|tracking ', '')} +exists`],
      },
      userinfo: `muster:${inUrl}@`,
      wantPush: false,
    },
    'an ACL user without the channel': {
      options: { users: [`muster on >${password} ${leastRights.replace('&__redis__:invalidate ', '')}`] },
      userinfo: `muster:${inUrl}@`,
      wantPush: false,
      wantWhy: /subscribe to __redis__:invalidate; allow/,
    },
    'an ACL user without scripts': {
      options: { users: [`muster on >${password} ${leastRights.replace('+eval ', '')}`] },
      userinfo: `muster:${inUrl}@`,
      wantPush: true,
    },
    'an ACL user without INFO and TRACKINGINFO': {
      options: {
        users: [`muster on >${password} ${leastRights.replace('+info ', '').replace('+client|trackinginfo', '')}`],
      },
      userinfo: `muster:${inUrl}@`,
      wantPush: true,
    },
    'one connection and no more': {
      // The administrator's own connection comes and goes.
      options: { config: { maxclients: 1 } },
      wantPush: false,
      wantWhy: /no connection left/,
    },
  };
  for (const [name, tc] of Object.entries(connections)) {
    it(`reads with ${name}${tc.wantPush ? '' : ', by polling'}`, async () => {
      const server = await startRedis(tc.options);
      try {
        const isSmall = tc.options?.config?.['maxclients'] !== undefined;
        if (!isSmall) {
          await server.command('LPUSH', 'celery', 'a');
          await server.command('HSET', 'unacked', 't1', '[{}, "", "celery"]', 't2', '[{}, "", "other"]');
        }
        const url = server.url.replace('://', `://${tc.userinfo ?? ''}`);
        const { until, untilState, lines } = start({ url, ...(server.caPem === '' ? {} : { caPem: server.caPem }) });
        await until('celery', isSmall ? reading(0) : reading(1, 1));
        const state = await untilState('ok');
        if (state.kind !== 'ok') throw new Error('not ok');
        expect(state.tracking).to.equal(tc.wantPush ? 'push' : 'poll');
        if (tc.wantWhy !== undefined) expect(state.trackingWhy).to.match(tc.wantWhy);
        if (!isSmall) {
          await server.command('LPUSH', 'celery', 'b');
          await until('celery', reading(2, 1));
          // Empty for a while, and not any more.
          await server.command('DEL', 'celery');
          await until('celery', reading(0, 1));
          await server.command('LPUSH', 'celery', 'c');
          await until('celery', reading(1, 1));
        }
        expect(lines.join('\n')).not.to.contain(password).and.not.to.contain(inUrl);
      } finally {
        await Promise.all(open.splice(0).map((each) => each.close()));
        await server.stop();
      }
    });
  }
});
