/** The Node client sends canvases, of which Python workers, Node workers, or both together run the tasks. */
import { expect } from 'chai';
import {
  chain,
  chord,
  chunks,
  createClient,
  group,
  link,
  linkError,
  map,
  RemoteTaskError,
  sig,
  stamp,
  starmap,
  task,
  type Client,
  type Signature,
} from '../../../worker/index.ts';
import { makePool } from '../../support/builders.ts';
import {
  askedVersions,
  ensureCelery,
  makeGate,
  startWorker,
  type CeleryWorker,
  type Gate,
} from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { nodeApp, spawnNodeWorker, type NodeWorker } from '../../support/nodeWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const add = task('canvas.add', {}, (_ctx, one: number, other: number) => one + other);
const s = (...args: unknown[]): Signature => sig('canvas.add', args);
const total = sig('canvas.total');
const echo = sig('canvas.echo');
const pairs = [
  [1, 2],
  [3, 4],
  [5, 6],
];

/** Each canvas with the value that it comes to. */
const canvases: Readonly<Record<string, () => readonly [Signature, unknown]>> = {
  'a task': () => [sig(add, [1, 2]), 3],
  'a task with keywords': () => [sig('canvas.add', [1, 2], { kwargs: { scale: 10 } }), 30],
  'a chain': () => [chain(s(1, 1), s(2), s(3)), 7],
  'a typed chain': () => [chain(sig(add, [1, 2]), sig(add, [10])), 13],
  'a chain with an immutable step': () => [chain(s(1, 1), sig('canvas.add', [5], { immutable: true }), s(3)), 8],
  'a chain of chains': () => [chain(chain(s(1, 1), s(2)), chain(s(3), s(4))), 11],
  'a chain through a map': () => [chain(map('canvas.plain', [1, 2]), total), 3],
  'a group': () => [group([s(1), s(2), s(3)]), [1, 2, 3]],
  'a group of chains': () => [group([chain(s(1), s(2)), chain(s(3), s(4))]), [3, 7]],
  'a chord': () => [chord([s(1), s(2), s(3)], total), 6],
  'a chord of chains and groups': () => [chord([chain(s(1), s(2)), group([s(3), s(4)]), s(5)], total), 15],
  'a chord with a chain as its body': () => [chord([s(1), s(2)], chain(total, s(10))), 13],
  'a chain through a group': () => [chain(s(1, 1), group([s(2), s(3)]), total), 9],
  'a chain through two groups': () => [chain(group([s(1), s(2)]), group([total, total]), echo), [[3, 3]]],
  'a chain of chords': () => [chain(chord([s(1), s(2)], total), chord([s(3), s(4)], total), s(5)), 18],
  'a chord of chords': () => [chord([chord([s(1), s(2)], total), s(3)], total), 6],
  'a replaced task': () => [sig('canvas.replace', [chain(s(1, 2), s(3))]), 6],
  'a map': () => [map('canvas.plain', [1, 2, 3]), [1, 2, 3]],
  'a starmap': () => [starmap('canvas.plain', pairs), [3, 7, 11]],
  chunks: () => [chunks('canvas.plain', pairs, 2), [[3, 7], [11]]],
};

for (const version of askedVersions) {
  // Without Python workers there is nothing of a version in it.
  for (const kind of version === askedVersions.at(-1)
    ? (['python', 'both', 'node'] as const)
    : (['python', 'both'] as const)) {
    describe(`canvases of the Node client, run by ${kind === 'both' ? 'both kinds' : kind}${kind === 'node' ? '' : `, Celery ${version}`}`, function () {
      this.timeout(60_000);
      let redis: RedisServer;
      let gate: Gate;
      let celeryWorker: CeleryWorker | undefined;
      let nodeWorker: NodeWorker | undefined;
      let client: Client;
      const ran = async (): Promise<Record<string, unknown>[]> =>
        (await gate.lines('ran')).map((line) => JSON.parse(line) as Record<string, unknown>);

      before(async function () {
        this.timeout(180_000);
        redis = await startRedis();
        gate = await makeGate();
        const env = { CANVAS_URL: redis.url, GATE_DIR: gate.dir };
        if (kind !== 'node') {
          const celery = await ensureCelery(version);
          const pool = makePool('py').broker({ url: redis.url }).app('canvas').queue('work').concurrency(2).obj();
          celeryWorker = await startWorker({ celery, pool, gate, env });
        }
        if (kind !== 'python') {
          const flags = [`--tasks=${nodeApp('canvas.ts')}`, '--queues=work', `--broker=${redis.url}`];
          const worker = spawnNodeWorker([...flags, '--concurrency=2', '--default-queue=work'], env);
          nodeWorker = worker;
          await eventually(() => expect(worker.output()).to.include('"connected"'), { timeoutMs: 30_000 });
        }
        client = createClient({ broker: redis.url, backend: redis.url, defaultQueue: 'work' });
      });
      after(async () => {
        await client.close();
        await nodeWorker?.stop();
        await celeryWorker?.stop();
        await gate.remove();
        await redis.stop();
      });

      for (const [name, make] of Object.entries(canvases)) {
        it(`gives the value of ${name}`, async () => {
          const [canvas, value] = make();
          const result = await client.send(canvas);
          expect(await result.get({ timeoutMs: 15_000 })).to.deep.equal(value);
        });
      }

      it('gives each task of a group, and its state', async () => {
        const result = await client.send(group([s(1), sig('canvas.fail'), s(3)]));
        const [first, failing] = result.members ?? [];
        expect(await first?.get({ timeoutMs: 15_000 })).to.equal(1);
        await failing?.get({ timeoutMs: 15_000 }).then(
          () => expect.fail('it did not fail'),
          (err: unknown) => expect(err).to.be.instanceOf(RemoteTaskError),
        );
        expect(await result.state()).to.equal('FAILURE');
      });

      it('ends the rest of a chain and the body of a chord with the failure of a part, and calls errbacks', async () => {
        const failing = await client.send(linkError(chain(s(1, 1), sig('canvas.fail'), s(3)), sig('canvas.onerror')));
        const chordOf = await client.send(linkError(chord([s(1), sig('canvas.fail')], total), sig('canvas.onerror')));
        for (const [result, message] of [
          [failing, 'bad'],
          [chordOf, /Dependency .* raised ValueError/],
        ] as const) {
          const error = await result.get({ timeoutMs: 15_000 }).then(
            () => expect.fail('it did not fail'),
            (err: unknown) => err as Error,
          );
          expect(error.message).to.match(new RegExp(message));
        }
        await eventually(async () => {
          const labels = (await ran()).map(({ label }) => label);
          expect(labels.filter((label) => label === 'onerror(1)')).to.have.length(2);
        });
      });

      it('sends callbacks, delays and stamps with it', async () => {
        const stamped = stamp(link(s(20, 1), s(100)), { tenant: 'a' });
        const result = await client.send(stamped, { countdownSeconds: 0.1 });
        expect(await result.get({ timeoutMs: 15_000 })).to.equal(21);
        await eventually(async () => {
          const facts = await ran();
          const callback = facts.find(({ label }) => label === 'add(21,100)');
          expect(callback).to.include({ root: result.id, parent: result.id });
          expect(callback).to.have.nested.property('stamps.tenant', 'a');
        });
      });
    });
  }
}

describe('canvases of the Node client', () => {
  it('that have a chord need a backend, and say so', async () => {
    const client = createClient({ broker: 'redis://127.0.0.1:1/0' });
    const error = await client.send(chord([s(1)], total)).catch((err: unknown) => err);
    expect(error).to.be.instanceOf(TypeError).with.property('message').that.includes('give createClient a backend');
    await client.close();
  });

  it('that have no task are refused', async () => {
    const client = createClient({ broker: 'redis://127.0.0.1:1/0' });
    const error = await client.send(chain()).catch((err: unknown) => err);
    expect(error).to.be.instanceOf(Error).with.property('message', 'there is no task in what is to be sent');
    await client.close();
  });
});
