/**
 * What becomes of a canvas must not depend on who runs it: the same program sends each canvas to Python workers and to Node
 * workers, and what it tells (values, states, results, children, parents, what ran with which arguments) must be the same.
 */
import { join } from 'node:path';
import { expect } from 'chai';
import { execa } from 'execa';
import { makePool } from '../../support/builders.ts';
import {
  allCeleryVersions,
  askedVersions,
  ensureCelery,
  makeGate,
  pyappsDir,
  startWorker,
  type Celery,
  type CeleryVersion,
} from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { nodeApp, spawnNodeWorker } from '../../support/nodeWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

/** What the program tells of a canvas; `refused` if this version cannot send it. */
type Told = Readonly<
  Record<string, { readonly refused?: string; readonly outcome?: unknown; readonly keys?: unknown }>
>;

/** Where Node workers differ on purpose, and from which versions. */
const differs: Readonly<Record<string, readonly CeleryVersion[]>> = {
  // Celery never ends the outer chord: who waits for it waits for ever. Ours ends it with the inner chord's error.
  'chord of chords that fails': allCeleryVersions,
  // 5.3 fails while it reports the failure, and stores that instead.
  'chord that fails in a chain': ['5.3.6'],
  // Up to 5.5 all parts of such a group have the place 0: their values come in any order.
  'replaced by a group in a chord': ['5.3.6', '5.4.0', '5.5.3'],
};

describe('a canvas', function () {
  this.timeout(120_000);
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());
  beforeEach(() => redis.command('FLUSHALL'));

  interface Run {
    readonly celery: Celery;
    readonly python: boolean;
    readonly node: boolean;
    readonly separate?: boolean;
    readonly args?: readonly string[];
  }

  /** Sends all canvases to workers of these kinds, on one queue. */
  async function run({ celery, python, node, separate = false, args = [] }: Run): Promise<Told> {
    const gate = await makeGate();
    const backend = separate ? `${redis.url}/5` : `${redis.url}/0`;
    const env = { CANVAS_URL: redis.url, CANVAS_BACKEND: backend, GATE_DIR: gate.dir };
    const pool = makePool('py').broker({ url: redis.url }).app('canvas').queue('work').concurrency(1).obj();
    const celeryWorker = python ? await startWorker({ celery, pool, gate, env }) : undefined;
    const flags = ['--queues=work', '--default-queue=work', `--broker=${redis.url}`, `--backend=${backend}`];
    const nodeWorker = node
      ? spawnNodeWorker([`--tasks=${nodeApp('canvas.ts')}`, '--concurrency=1', ...flags, ...args], env)
      : undefined;
    try {
      if (nodeWorker !== undefined) {
        await eventually(() => expect(nodeWorker.output()).to.include('"connected"'), { timeoutMs: 30_000 });
      }
      const { stdout } = await execa(join(celery.bin, 'python'), ['-m', 'canvas'], {
        env: { ...env, PYTHONPATH: pyappsDir, PYTHONDONTWRITEBYTECODE: '1' },
      });
      return JSON.parse(stdout) as Told;
    } finally {
      await nodeWorker?.stop();
      await celeryWorker?.stop();
      await gate.remove();
    }
  }

  for (const version of askedVersions) {
    describe(`sent by Celery ${version}`, () => {
      let celery: Celery;
      let expected: Told;
      const compare = (found: Told, pick: (told: Told[string]) => unknown): void => {
        expect(Object.keys(found)).to.deep.equal(Object.keys(expected));
        for (const [name, told] of Object.entries(expected)) {
          if (differs[name]?.includes(version) === true) continue;
          expect(pick(found[name] ?? {}), name).to.deep.equal(pick(told));
        }
      };
      /** Keys of chords that have ended depend on the version. */
      const withoutKeys = ({ keys: _, ...told }: Told[string]): unknown => told;

      before(async function () {
        this.timeout(240_000);
        celery = await ensureCelery(version);
        expected = await run({ celery, python: true, node: false });
        expect(Object.values(expected).filter(({ outcome }) => outcome !== undefined)).to.have.length.above(60);
      });

      it('becomes the same with Node workers as with Python workers, and nothing is left of its chords', async () => {
        const found = await run({ celery, python: false, node: true });
        compare(found, withoutKeys);
        for (const [name, { keys = [] }] of Object.entries(found)) {
          const left = (keys as string[]).filter((key) => /[.](j|t|s|d|c)$/.test(key));
          // The parts of a chord that never had a size: the header failed before all of it was sent.
          expect(left, name).to.deep.equal([]);
        }
      });

      it('becomes the same when workers of both kinds share its tasks', async () => {
        compare(await run({ celery, python: true, node: true }), ({ outcome, refused }) => outcome ?? refused);
      });

      it('becomes the same with results in another database, and late acknowledgement', async () => {
        const found = await run({ celery, python: false, node: true, separate: true, args: ['--ack=late'] });
        compare(found, withoutKeys);
      });
    });
  }
});
