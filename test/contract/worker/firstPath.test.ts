/** Plain Python producers send to the Node worker and get what they would get from a Python one. */
import { expect } from 'chai';
import { askedVersions, ensureCelery, makeGate, runPython, type Celery, type Gate } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { producerCode, startTaskWorker, type TaskWorker } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

for (const version of askedVersions) {
  describe(`the Node worker with a producer of Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let gate: Gate;
    let worker: TaskWorker;
    const python = async (code: string, protocol: 1 | 2 = 2): Promise<unknown> =>
      JSON.parse(await runPython(celery, `import json\n${producerCode(redis.url, protocol)}\n${code}`)) as unknown;

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis();
      gate = await makeGate();
      worker = await startTaskWorker(redis.url, gate.dir, { concurrency: 1, ack: 'late' });
    });
    after(async () => {
      await worker.kill();
      await gate.remove();
      await redis.stop();
    });
    afterEach(async () => {
      await eventually(async () => {
        expect(await redis.command('HLEN', 'unacked')).to.equal(0);
        expect(await redis.command('ZCARD', 'unacked_index')).to.equal(0);
      });
    });

    for (const protocol of [2, 1] as const) {
      it(`runs tasks sent with protocol ${protocol} and gives values and failures back`, async () => {
        const answer = await python(
          `
added = send("node.add", (2, 3), {"scale": 10})
echoed = send("node.echo", ({"a": [1, None, "ü"], "b": 1.5},))
failed = send("node.fail", ("too far",))
try:
    failed.get(timeout=20)
except Exception as err:
    failure = [type(err).__name__, str(err)]
print(json.dumps([added.get(timeout=20), echoed.get(timeout=20), failure, failed.state, "RangeError" in failed.traceback]))`,
          protocol,
        );
        expect(answer).to.deep.equal([50, { a: [1, null, 'ü'], b: 1.5 }, ['RangeError', 'too far'], 'FAILURE', true]);
      });

      it(`retries a task sent with protocol ${protocol} under its id`, async () => {
        const [id, value] = (await python(
          `r = send("node.flaky", (2,))\nprint(json.dumps([r.id, r.get(timeout=20)]))`,
          protocol,
        )) as [string, number];
        expect(value).to.equal(2);
        const runs = (await gate.started()).filter((line) => line.startsWith(id));
        expect(runs).to.deep.equal([0, 1, 2].map((retry) => `${id} ${retry}`));
      });

      it(`delays a task with a countdown and does not run one that expired, with protocol ${protocol}`, async () => {
        const answer = await python(
          `
import time
began = time.time()
delayed = send("node.echo", ("later",), countdown=1)
expired = send("node.echo", ("never",), expires=-10)
try:
    expired.get(timeout=20)
except Exception as err:
    failure = type(err).__name__
print(json.dumps([delayed.get(timeout=20), time.time() - began >= 0.95, failure, expired.state]))`,
          protocol,
        );
        expect(answer).to.deep.equal(['later', true, 'TaskRevokedError', 'REVOKED']);
      });
    }

    it('stores no result of a task that ignores it, by its option or by the producer', async () => {
      const ids = (await python(`
sent = [send("node.silent"), send("node.echo", (1,), ignore_result=True)]
send("node.add", (1, 1)).get(timeout=20)
print(json.dumps([r.id for r in sent]))`)) as string[];
      for (const id of ids) expect(await redis.command('EXISTS', `celery-task-meta-${id}`)).to.equal(0);
    });

    it('puts a rejected message back, and drops it when the task says so', async () => {
      const id = (await python(`print(json.dumps(send("node.rejected").id))`)) as string;
      await eventually(async () => {
        expect((await gate.started()).filter((line) => line === id)).to.have.length(2);
      });
      expect(await redis.command('LLEN', 'work')).to.equal(0);
    });

    it("serves priorities in kombu's order, and equal ones in the order in which they were sent", async () => {
      await python(`
send("node.gated", ("first",))
print(json.dumps(1))`);
      await eventually(async () => (await gate.started()).includes('first'));
      await python(`
for number, priority in enumerate([9, 0, 3, 6, 0, 4, 9]):
    send("node.numbered", (number, 0), priority=priority)
print(json.dumps(1))`);
      await gate.open();
      await eventually(async () => (await gate.ended()).includes('6'));
      const order = (await gate.ended()).filter((line) => line !== 'first').map(Number);
      expect(order).to.deep.equal([1, 4, 2, 5, 3, 0, 6]);
    });
  });
}
