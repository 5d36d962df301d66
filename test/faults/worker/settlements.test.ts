/** What a consumer settles, step by step: in which order, how often, and where it goes. */
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { parseEndpoint } from '../../../operator/broker/endpoint.ts';
import { systemClock } from '../../../operator/runtime/clock.ts';
import { bindingMember, brokerKeys } from '../../../worker/protocol/keys.ts';
import { buildMessage } from '../../../worker/protocol/message.ts';
import { createConsumer, type Consumer, type ConsumerOptions } from '../../../worker/transport/consumer.ts';
import { buildExchange, servingOrder, type Delivery } from '../../../worker/transport/exchange.ts';
import { eventually } from '../../support/eventually.ts';
import { startRedisProxy, type RedisProxy } from '../../support/redisProxy.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';
import { silentLog } from '../../support/silentLog.ts';

const keys = brokerKeys();

describe('what a consumer settles', function () {
  this.timeout(60_000);
  let redis: RedisServer;
  let client: Redis;
  let proxy: RedisProxy;
  let consumer: Consumer;
  let deliveries: Delivery[];

  beforeEach(async () => {
    redis = await startRedis();
    client = redis.client();
    proxy = await startRedisProxy(redis.port);
    deliveries = [];
  });
  afterEach(async () => {
    await consumer.close();
    await proxy.close();
    await redis.stop();
  });

  const message = (tag: string): string => buildMessage({ task: 't', id: tag, tag, routingKey: 'work' }).raw;
  const begin = (options: Partial<ConsumerOptions> = {}): void => {
    const parsed = parseEndpoint({ url: `redis://127.0.0.1:${proxy.port}/0` });
    if (parsed.kind !== 'ok') throw new Error(parsed.message);
    consumer = createConsumer({
      ...{ endpoint: parsed.endpoint, keys, queues: ['work'], consumerId: 'one', clock: systemClock, log: silentLog },
      ...{ timeoutMs: 5_000, visibilityTimeoutSeconds: 3_600 },
      credit: () => 1 - deliveries.length,
      onDelivery: (delivery) => deliveries.push(delivery),
      ...options,
    });
  };
  const flushed = (): Promise<void> => consumer.flushed(AbortSignal.timeout(20_000));

  it('acknowledges a task after all that it sent, however much that is', async () => {
    await client.lpush('work', message('parent'));
    begin();
    await eventually(() => deliveries.length === 1);
    const calls: string[][] = [];
    const monitor = await client.duplicate().monitor();
    monitor.on('monitor', (_time: string, args: string[]) => {
      if (args[0] === 'evalsha') calls.push(args);
    });
    const [parent] = deliveries;
    if (parent === undefined) throw new Error('nothing came');
    for (let child = 0; child < 2_500; child += 1) consumer.push(`child-${child}`, 'children', message(`c${child}`));
    consumer.ack(parent);
    await flushed();
    expect(await client.llen('children')).to.equal(2_500);
    const sends = (): boolean[] => calls.map((args) => args.some((arg) => arg.startsWith('sent.child-')));
    await eventually(() => expect(sends().filter(Boolean).length).to.equal(3));
    monitor.disconnect();
    expect(calls.findIndex((args) => args.includes('parent'))).to.equal(sends().lastIndexOf(true));
  });

  it('puts a message back once although the answer is lost, and does not take it from who claimed it meanwhile', async () => {
    await client.lpush('work', message('wanted'));
    begin();
    await eventually(() => deliveries.length === 1);
    const [wanted] = deliveries;
    if (wanted === undefined) throw new Error('nothing came');
    proxy.delay(500);
    consumer.requeue(wanted, 'tail');
    // Redis has done it; the answer is in the proxy.
    await eventually(async () => expect(await client.llen('work')).to.equal(1), { intervalMs: 5 });
    const [command, ...args] = buildExchange(keys, 'muster.claims.other', {
      ...{ number: 1, connection: 1, limit: 1, acks: [], moves: [], confirmed: [], queues: 1 },
      lists: servingOrder(keys, ['work']),
    });
    await client.call(command, ...args.map(String));
    expect(await client.hkeys('unacked')).to.deep.equal(['wanted']);
    proxy.delay(0);
    proxy.resetAll();
    const before = proxy.accepted;
    await eventually(() => proxy.accepted > before && consumer.state().kind === 'open');
    await flushed();
    expect(await client.hkeys('unacked')).to.deep.equal(['wanted']);
    expect(await client.llen('work')).to.equal(0);
  });

  it('has flushed only when all that arrived has gone back', async () => {
    const tags = Array.from({ length: 100 }, (_, place) => `m${place}`);
    await client.lpush('work', ...tags.map(message));
    const first = new Promise<void>((resolve) => {
      begin({
        credit: () => 100 - deliveries.length,
        onDelivery(delivery) {
          deliveries.push(delivery);
          consumer.pause(true);
          consumer.requeue(delivery, 'head');
          resolve();
        },
      });
    });
    await first;
    await flushed();
    await consumer.close();
    expect(await client.hlen('unacked')).to.equal(0);
    const waiting = (await client.lrange('work', '0', '-1')).reverse();
    expect(waiting.map((raw) => (JSON.parse(raw) as { headers: { id: string } }).headers.id)).to.deep.equal(tags);
  });

  for (const [name, members, expected] of [
    [
      'of a topic exchange goes back to the queue whose pattern fits',
      [['media.#', '^media\\..*?$', 'videos']],
      'videos',
    ],
    ['of a direct exchange goes back to the queue of its routing key', [['media.clip', '', 'clips']], 'clips'],
    [
      'that lay in two queues stays where it is: which one this copy is from, nobody knows',
      [
        ['media.#', '^media\\..*?$', 'videos'],
        ['*.clip', '^.*?[^\\.]\\.clip$', 'clips'],
      ],
      undefined,
    ],
  ] as const) {
    it(`an overdue message ${name}`, async () => {
      const bindings = members.map(([routingKey, pattern, queue]) => bindingMember({ routingKey, pattern, queue }));
      await client.sadd('_kombu.binding.media', ...bindings);
      await client.hset('unacked', 'tag', `[${message('tag')},"media","media.clip"]`);
      await client.zadd('unacked_index', '1', 'tag');
      begin({ visibilityTimeoutSeconds: 1 });
      if (expected === undefined) {
        await eventually(async () => expect(await client.exists('unacked_mutex')).to.equal(1), { intervalMs: 5 });
        await flushed();
        expect(await client.hlen('unacked')).to.equal(1);
      } else {
        await eventually(async () => expect(await client.llen(expected)).to.equal(1));
        expect(await client.hlen('unacked')).to.equal(0);
      }
      expect(await client.exists('media.clip')).to.equal(0);
    });
  }
});
