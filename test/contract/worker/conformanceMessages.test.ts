/** What real Celery clients can put into a message: every kind is run as it was meant, or refused, reported and dropped. */
import { expect } from 'chai';
import { askedVersions, ensureCelery, makeGate, runPython, type Celery, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { producerCode, startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

/** Content types that Celery knows beside JSON. What the others write does not matter: it must not be looked at. */
const serializers: Readonly<Record<string, { readonly type: string; readonly python?: string }>> = {
  pickle: { type: 'application/x-python-serialize' },
  yaml: {
    type: 'application/x-yaml',
    python: 'register("yaml", json.dumps, json.loads, "application/x-yaml", "utf-8")',
  },
  msgpack: {
    type: 'application/x-msgpack',
    python: 'register("msgpack", lambda it: json.dumps(it).encode(), json.loads, "application/x-msgpack", "binary")',
  },
};

for (const version of askedVersions) {
  describe(`messages of a client of Celery ${version} at the Node worker`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let gate: Gate;
    let worker: TaskWorker;
    const python = async (code: string): Promise<unknown> =>
      JSON.parse(await runPython(celery, `import json\n${producerCode(redis.url)}\n${code}`)) as unknown;
    const isSettled = (left = 0): Promise<unknown> =>
      eventually(async () => {
        expect(await redis.command('LLEN', 'work')).to.equal(0);
        expect(await redis.command('HLEN', 'unacked')).to.equal(left);
        expect(await redis.command('ZCARD', 'unacked_index')).to.equal(left);
      });

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis();
      gate = await makeGate();
      worker = await startTaskWorker(redis.url, gate.dir, { concurrency: 2, ack: 'late' });
    });
    after(async () => {
      await worker.kill();
      await gate.remove();
      await redis.stop();
    });

    for (const [serializer, { type, python: register }] of Object.entries(serializers)) {
      it(`${serializer}: refused and reported, never run`, async () => {
        const id = await python(`
from kombu.serialization import register
${register ?? ''}
refused = send("node.numbered", (1, 0), serializer="${serializer}")
assert send("node.add", (1, 1)).get(timeout=20) == 2
print(json.dumps(refused.id))`);
        await isSettled();
        expect(await gate.started()).to.deep.equal([]);
        const line = worker
          .output()
          .split('\n')
          .find((text) => text.includes('not accepted') && text.includes(type));
        expect(line).to.contain(String(id)).and.contain('node.numbered');
      });
    }

    for (const compression of ['gzip', 'zlib']) {
      it(`a body that is compressed with ${compression}`, async () => {
        expect(
          await python(`
text = "x" * 100_000
print(json.dumps(send("node.echo", (text,), compression="${compression}").get(timeout=20) == text))`),
        ).to.equal(true);
      });
    }

    it('values of Python that are not JSON come back as what they were', async () => {
      const answer = await python(`
import datetime, decimal, uuid
utc = datetime.timezone.utc
values = [
    datetime.datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=utc),
    datetime.date(2026, 2, 3), datetime.time(4, 5, 6),
    uuid.UUID("12345678-1234-5678-1234-567812345678"), decimal.Decimal("1.10"), b"\\xff\\x00",
    2 ** 70, -0.5, "\\u00fc \\U0001f600", None, True, {"a": [{}]},
]
sent = [send("node.echo", (value,)) for value in values]
came = [each.get(timeout=20) for each in sent]
print(json.dumps([repr(a) for a, b in zip(came, values) if (type(a), a) != (type(b), b)]))`);
      expect(answer).to.deep.equal([]);
    });

    it('a countdown that is negative runs at once; an ETA in the year 9999 waits', async () => {
      const answer = await python(`
import datetime
far = send("node.echo", ("far",), eta=datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc))
soon = send("node.echo", ("soon",), countdown=-3600)
print(json.dumps([soon.get(timeout=20), far.state]))`);
      expect(answer).to.deep.equal(['soon', 'PENDING']);
      await isSettled(1);
      await redis.command('DEL', 'unacked', 'unacked_index');
    });

    it('an expiry in seconds, as a date, and one that has not come', async () => {
      const answer = await python(`
import datetime
now = datetime.datetime.now(datetime.timezone.utc)
hour = datetime.timedelta(hours=1)
sent = [send("node.echo", (1,), expires=expires) for expires in (-1, now - hour, 3600, now + hour)]
for each in sent:
    each.get(timeout=20, propagate=False)
print(json.dumps([each.state for each in sent]))`);
      expect(answer).to.deep.equal(['REVOKED', 'REVOKED', 'SUCCESS', 'SUCCESS']);
      await isSettled();
    });

    it('arguments of 20 MB, and a result as large', async () => {
      expect(
        await python(`
text = "y" * 20_000_000
print(json.dumps(send("node.echo", (text,)).get(timeout=40) == text))`),
      ).to.equal(true);
      await isSettled();
    });
  });
}
