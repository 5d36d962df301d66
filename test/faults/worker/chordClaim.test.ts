/** The end of a chord, step by step: its body is sent once, and its parts count once, whoever they ran on. */
import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { parseEndpoint } from '../../../operator/broker/endpoint.ts';
import { systemClock } from '../../../operator/runtime/clock.ts';
import { resultKeys } from '../../../worker/protocol/keys.ts';
import { createChords, type ChordEnd, type Chords } from '../../../worker/results/chord.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';
import { silentLog } from '../../support/silentLog.ts';

const keys = resultKeys();
const groupId = 'a-group';

describe('the end of a chord', () => {
  let redis: RedisServer;
  let client: Redis;
  let workers: Chords[];

  before(async () => {
    redis = await startRedis();
    client = redis.client();
  });
  after(() => redis.stop());
  beforeEach(async () => {
    await client.flushall();
    const parsed = parseEndpoint({ url: `redis://127.0.0.1:${redis.port}/0` });
    if (parsed.kind !== 'ok') throw new Error(parsed.message);
    workers = [0, 1].map(() =>
      createChords({
        ...{ endpoint: parsed.endpoint, keys, clock: systemClock, log: silentLog, timeoutMs: 5_000 },
        ...{ keepSeconds: 3_600, newId: randomUUID },
      }),
    );
  });
  afterEach(() => {
    for (const worker of workers) worker.close();
  });

  const returned = (worker: number, place: number): Promise<ChordEnd | undefined> | undefined =>
    workers[worker]?.returned([], {
      ...{ groupId, taskId: `part-${place}`, groupIndex: place },
      encoded: `[1, "part-${place}", "SUCCESS", ${place}]`,
    });
  const finish = async (worker: number, end: ChordEnd | undefined): Promise<void> => {
    if (end === undefined) throw new Error('the chord has not ended');
    await workers[worker]?.finish(end, [], [{ list: 'bodies', raw: 'body' }]);
  };

  it('sends the body although the claim ran out before', async () => {
    await client.set(keys.chordSize(groupId), 1);
    const end = await returned(0, 0);
    await client.del(keys.chordClaim(groupId));
    await finish(0, end);
    expect(await client.lrange('bodies', '0', '-1')).to.deep.equal(['body']);
    expect(await client.keys('*')).to.deep.equal(['bodies']);
  });

  it('leaves the body to whoever had the claim after it ran out, who sends it once', async () => {
    await client.set(keys.chordSize(groupId), 1);
    const late = await returned(0, 0);
    await client.del(keys.chordClaim(groupId));
    const other = await returned(1, 0);
    await finish(0, late);
    expect(await client.exists('bodies')).to.equal(0);
    await finish(1, other);
    await finish(0, late);
    expect(await client.llen('bodies')).to.equal(1);
  });

  it('counts a part once that Celery before 5.7 has counted, in whatever spelling', async () => {
    for (const counted of ['[1, "part-0", "SUCCESS", 0]', '[1,"part-0","SUCCESS",0]']) {
      await client.flushall();
      await client.set(keys.chordSize(groupId), 2);
      await client.zadd(keys.chordParts(groupId), '0', counted);
      expect(await returned(0, 0)).to.equal(undefined);
      const end = await returned(0, 1);
      expect(end?.values).to.deep.equal([counted, '[1, "part-1", "SUCCESS", 1]']);
    }
  });
});
