/** Waiting for results in a real Redis. */
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { parseEndpoint } from '../../../operator/broker/endpoint.ts';
import { systemClock } from '../../../operator/runtime/clock.ts';
import { resultKeys } from '../../../worker/protocol/keys.ts';
import { createResultWatch, type ResultWatch } from '../../../worker/results/watch.ts';
import { eventually } from '../../support/eventually.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('waiting for results', () => {
  let redis: RedisServer;
  let client: Redis;
  let watch: ResultWatch;

  before(async () => {
    redis = await startRedis();
    client = redis.client();
  });
  after(() => redis.stop());
  beforeEach(() => {
    const parsed = parseEndpoint({ url: `redis://127.0.0.1:${redis.port}/0` });
    if (parsed.kind !== 'ok') throw new Error(parsed.message);
    watch = createResultWatch({ endpoint: parsed.endpoint, keys: resultKeys(), clock: systemClock, timeoutMs: 5_000 });
  });
  afterEach(() => watch.close());

  const channels = (): Promise<unknown> => client.pubsub('CHANNELS');

  it('leaves no subscription behind, whether its wait ends before the subscription stands or after', async () => {
    const kept = new AbortController();
    const given = new AbortController();
    const ends = [
      watch.wait('kept', kept.signal).catch(() => undefined),
      watch.wait('given-up', given.signal).catch(() => undefined),
    ];
    // The connection is being opened now.
    setImmediate(() => given.abort());
    await eventually(async () => expect(await channels()).to.deep.equal(['celery-task-meta-kept']));
    kept.abort();
    await Promise.all(ends);
    await eventually(async () => expect(await channels()).to.deep.equal([]));
  });
});
