/**
 * Prefetch and ack mode hold by what real workers hold, not by what was rendered: thirty long tasks, one worker of two
 * slots, and then counts in the queue, in `unacked` and running, whatever the app itself says.
 */
import { expect } from 'chai';
import type { WorkerPool } from '../../operator/api/v1alpha1/workerpool.ts';
import { makePool } from '../support/builders.ts';
import { celeryVersions, ensureCelery, listen, makeGate, runPython, startWorker } from '../support/celery.ts';
import type { Celery, CeleryWorker, Gate, Listener } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';

type Policy = 'Multiplier' | 'Fair' | 'Unlimited';
type AckMode = 'Early' | 'Late';

interface Counts {
  readonly queue: number;
  readonly unacked: number;
  readonly started: number;
}

interface Row {
  readonly policy: Policy;
  readonly multiplier?: number;
  readonly ackMode: AckMode;
  readonly want: Counts;
  /** Received and not running, as the worker itself says. */
  readonly wantHeld: number;
}

const tasks = 30;

const table: Readonly<Record<string, Row>> = {
  'multiplier 4, early': row('Multiplier', 4, 'Early', 20, 8, 8),
  'multiplier 4, late': row('Multiplier', 4, 'Late', 22, 8, 6),
  'multiplier 1, early': row('Multiplier', 1, 'Early', 26, 2, 2),
  'multiplier 1, late': row('Multiplier', 1, 'Late', 28, 2, 0),
  'fair, early': row('Fair', undefined, 'Early', 28, 0, 0),
  'fair, late': row('Fair', undefined, 'Late', 28, 2, 0),
  'unlimited, early': row('Unlimited', undefined, 'Early', 0, 28, 28),
  'unlimited, late': row('Unlimited', undefined, 'Late', 0, 30, 28),
};

/** Each app wants the opposite ack mode and a multiplier of 7 (pyapps). */
const styles: Readonly<Record<string, { app: string; rows: readonly Row[] }>> = {
  'settings in a module, with worker_disable_prefetch': style('module', 'multiplier 4, late', 'unlimited, early'),
  'settings with a prefix': style('namespaced', 'multiplier 4, early', 'fair, late'),
  'acks_late on the task and on its base class': style('explicit', 'multiplier 1, early', 'unlimited, late'),
  'settings by their old names': style('oldnames', 'multiplier 1, late', 'fair, early'),
};

for (const version of celeryVersions) {
  describe(`prefetch and ack mode on Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let heard: Listener;
    let gate: Gate;
    let worker: CeleryWorker | undefined;

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis();
      heard = await listen(redis);
    });
    after(() => redis.stop());
    beforeEach(async () => {
      gate = await makeGate();
    });
    afterEach(async () => {
      await worker?.stop();
      worker = undefined;
      await gate.remove();
      await redis.command('FLUSHALL');
      heard.forget();
    });

    const read = async (): Promise<Counts> => ({
      queue: Number(await redis.command('LLEN', 'work')),
      unacked: Number(await redis.command('HLEN', 'unacked')),
      started: (await gate.started()).length,
    });

    /** The worker with the queue full, from a moment on at which nothing has changed for a while. */
    const fill = async (app: string, tc: Row): Promise<void> => {
      const pool = poolOf(redis, app, tc);
      const send = `import ${app}\nfor n in range(${tasks}): ${app}.gated.apply_async((n,), queue='work')`;
      await runPython(celery, send, { CELERY_BROKER_URL: redis.url });
      const env = { OWN_ACKS_LATE: tc.ackMode === 'Late' ? '0' : '1' };
      worker = await startWorker({ celery, pool, gate, env });
      expect(await settled(read)).to.deep.equal(tc.want);
    };

    for (const [name, tc] of Object.entries(table)) {
      it(`holds what the fact sheet says: ${name}`, async () => {
        await fill('plain', tc);
        await eventually(() => {
          const { pool, queues, slots, ackMode, prefetch, running, held, scheduled, problems } = heard.latest() ?? {};
          expect({ pool, queues, slots, ackMode, prefetch, running, held, scheduled, problems }).to.deep.equal({
            pool: 'shop/a',
            queues: ['work'],
            slots: 2,
            ackMode: tc.ackMode,
            prefetch: tc.policy,
            running: { work: 2 },
            held: tc.wantHeld === 0 ? {} : { work: tc.wantHeld },
            scheduled: 0,
            problems: [],
          });
        });
      });
    }

    for (const [name, { app, rows }] of Object.entries(styles)) {
      for (const tc of rows) {
        it(`overrules ${name}: ${tc.policy}, ${tc.ackMode}`, () => fill(app, tc));
      }
    }
  });
}

function row(
  policy: Policy,
  multiplier: number | undefined,
  ackMode: AckMode,
  queue: number,
  unacked: number,
  wantHeld: number,
): Row {
  const want = { queue, unacked, started: 2 };
  return { policy, ...(multiplier === undefined ? {} : { multiplier }), ackMode, want, wantHeld };
}

function style(app: string, ...names: readonly string[]): { app: string; rows: readonly Row[] } {
  return { app, rows: names.map((name) => table[name]!) };
}

function poolOf(redis: RedisServer, app: string, { policy, multiplier, ackMode }: Row): WorkerPool {
  return makePool('a')
    .broker({ url: `${redis.url}/0` })
    .app(app)
    .queue('work')
    .concurrency(2)
    .prefetch(policy, multiplier)
    .ack(ackMode)
    .obj();
}

/** Resolves to a reading with running tasks that stayed the same for half a second: a worker takes messages in milliseconds. */
async function settled(read: () => Promise<Counts>): Promise<Counts> {
  let last = '';
  let since = 0;
  return eventually(
    async () => {
      const now = await read();
      const text = JSON.stringify(now);
      if (text !== last) [last, since] = [text, performance.now()];
      if (now.started === 0 || performance.now() - since < 500) throw new Error(`still changing: ${text}`);
      return now;
    },
    { timeoutMs: 20_000, intervalMs: 25 },
  );
}
