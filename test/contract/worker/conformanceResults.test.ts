/** Results that the Node worker stores, read by Celery's own AsyncResult: states, values, errors, children, expiry. */
import { expect } from 'chai';
import { sig } from '../../../worker/index.ts';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { askedVersions, ensureCelery, runPython, type Celery } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { makeGates, startNodeWorker, type Gates } from '../../support/inProcessWorker.ts';
import { producerCode } from '../../support/nodeRig.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

/** Things that a task may return or throw, and what a Python client is told. */
const unsayable: Readonly<Record<string, () => unknown>> = {
  circle() {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    return circle;
  },
  function: () => () => 1,
  symbol: () => Symbol('s'),
  // Read only when it is stored.
  getter: () => ({
    get value(): number {
      throw new Error('no value');
    },
  }),
};
const thrown: Readonly<Record<string, () => unknown>> = {
  text: () => 'only a text',
  nothing: () => undefined,
  object: () => ({ code: 7 }),
  cause: () => new RangeError('outer', { cause: new Error('inner') }),
};

for (const version of askedVersions) {
  describe(`results of the Node worker at a client of Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let gates: Gates;
    let worker: Worker;
    const python = async (code: string): Promise<unknown> =>
      JSON.parse(await runPython(celery, `import json, time\n${producerCode(`${redis.url}/0`)}\n${code}`)) as unknown;

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis();
      gates = makeGates();
      const [wait] = gates.tasks;
      const tasks = [
        ...gates.tasks,
        task('tracked', { trackStarted: true }, async (ctx, name: string) => {
          const value = await wait?.run(ctx, name as never);
          ctx.updateState('PROGRESS', { percent: 50 });
          await wait?.run(ctx, `${name} again` as never);
          return value;
        }),
        task('echo', {}, (_ctx, value: unknown) => value),
        task('nothing', {}, () => undefined),
        task('unsayable', {}, (_ctx, what: string) => unsayable[what]?.()),
        task('throws', {}, (_ctx, what: string) => {
          throw thrown[what]?.();
        }),
        task('parent', {}, (ctx) => [ctx.send(sig('echo', ['one'])), ctx.send(sig('echo', ['two']))]),
      ];
      const flags = ['--queues', 'work', '--default-queue', 'work', '--hostname', 'n1@here', '--ack', 'late'];
      worker = startNodeWorker(`${redis.url}/0`, tasks, [...flags, '--result-expires-seconds', '1234']);
    });
    after(async () => {
      gates.openAll();
      await worker.stop(AbortSignal.timeout(1_000));
      await redis.stop();
    });

    it('go from PENDING over STARTED and states of the task to SUCCESS', async () => {
      const id = (await python('print(json.dumps(send("tracked", ("a",)).id))')) as string;
      const state = async (): Promise<unknown> =>
        python(`r = app.AsyncResult("${id}")\nprint(json.dumps([r.state, r.info]))`);
      await eventually(() => gates.started.includes('a'));
      expect(await state()).to.deep.equal(['STARTED', { pid: process.pid, hostname: 'n1@here' }]);
      gates.open('a');
      await eventually(() => gates.started.includes('a again'));
      expect(await state()).to.deep.equal(['PROGRESS', { percent: 50 }]);
      gates.open('a again');
      await eventually(async () => expect(await state()).to.deep.equal(['SUCCESS', 'a']));
    });

    it('know when they ended, expire, and can be forgotten', async () => {
      const [id, isRecent] = (await python(`
import datetime
r = send("echo", (1,))
r.get(timeout=20)
age = datetime.datetime.now(datetime.timezone.utc) - r.date_done.replace(tzinfo=datetime.timezone.utc)
print(json.dumps([r.id, abs(age.total_seconds()) < 60]))`)) as [string, boolean];
      expect(isRecent).to.equal(true);
      expect(await redis.command('TTL', `celery-task-meta-${id}`)).to.be.within(1_100, 1_234);
      await python(`app.AsyncResult("${id}").forget()\nprint("1")`);
      expect(await redis.command('EXISTS', `celery-task-meta-${id}`)).to.equal(0);
    });

    it('are waited for until the time is over, and can be waited for again', async () => {
      const [raised, id] = (await python(`
r = send("gate.wait", ("slow",))
try:
    r.get(timeout=0.1)
except Exception as err:
    raised = type(err).__name__
print(json.dumps([raised, r.id]))`)) as [string, string];
      expect(raised).to.equal('TimeoutError');
      gates.open('slow');
      expect(await python(`print(json.dumps(app.AsyncResult("${id}").get(timeout=20)))`)).to.equal('slow');
    });

    it('are None when a task returns nothing', async () => {
      expect(await python('print(json.dumps(send("nothing").get(timeout=20)))')).to.equal(null);
    });

    for (const what of Object.keys(unsayable)) {
      it(`that JSON cannot hold are a failure that says so: ${what}`, async () => {
        const [state, text] = (await python(`
r = send("unsayable", ("${what}",))
error = r.get(timeout=20, propagate=False)
print(json.dumps([r.state, str(error), r.traceback]))`)) as string[];
        expect(state).to.equal('FAILURE');
        expect(text).to.match(what === 'getter' ? /no value/ : /JSON|circular/i);
      });
    }

    for (const what of Object.keys(thrown)) {
      it(`are an exception that Python can raise, whatever was thrown: ${what}`, async () => {
        const [raised, isException, text, traceback] = (await python(`
r = send("throws", ("${what}",))
try:
    r.get(timeout=20)
except Exception as err:
    print(json.dumps([type(err).__name__, isinstance(err, Exception), str(err), r.traceback]))`)) as string[];
        expect(isException).to.equal(true);
        expect(raised).to.equal(what === 'cause' ? 'RangeError' : 'Error');
        if (what === 'text') expect(text).to.equal('only a text');
        if (what === 'object') expect(text).to.contain('7');
        if (what === 'cause') expect(traceback).to.contain('inner').and.contain('outer');
      });
    }

    it('name the children that a task started', async () => {
      const answer = await python(`
r = send("parent")
ids = r.get(timeout=20)
children = app.AsyncResult(r.id).children
# Celery's client subscribes to a result that it did not send for over one connection and asks for it over another one:
# what is stored between the two, as Redis serves them, it hears of only when it asks again.
while not all(c.ready() for c in children):
    time.sleep(0.01)
print(json.dumps([[c.id for c in children] == ids, [c.get(timeout=20) for c in children]]))`);
      expect(answer).to.deep.equal([true, ['one', 'two']]);
    });
  });
}
