/** What the file is told wrongly, or not at all, never breaks a worker; and the broker's options reach it. */
import { expect } from 'chai';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeCertificates } from '../../dev/cluster/certificates.ts';
import { makePool, type PoolBuilder } from '../support/builders.ts';
import { celeryVersions, ensureCelery, listen, makeGate, runPython, startWorker } from '../support/celery.ts';
import type { Celery, CeleryWorker, Gate, Listener } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';

interface BrokenCase {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly wantProblems: readonly RegExp[];
}

const nothing = Object.fromEntries(
  [
    ...['POOL', 'QUEUES', 'CONCURRENCY', 'PREFETCH_POLICY', 'PREFETCH_MULTIPLIER', 'ACK_MODE', 'ROUTES_FILE'],
    'LONGEST_TASK_SECONDS',
  ].map((name) => [`MUSTER_${name}`, undefined]),
);

const broken: Readonly<Record<string, BrokenCase>> = {
  'no variable at all': { env: nothing, wantProblems: [] },
  'a multiplier that is no number': {
    env: { MUSTER_PREFETCH_MULTIPLIER: 'four' },
    wantProblems: [/^prefetch does not work here: ValueError/],
  },
  'values of a later version, or of none': {
    env: {
      MUSTER_PRIORITY_STEPS: 'low,high',
      MUSTER_PREFETCH_POLICY: 'Psychic',
      MUSTER_ACK_MODE: 'Never',
      MUSTER_ROUTES_FILE: '/',
    },
    wantProblems: [
      /^broker does not work here: ValueError/,
      /^prefetch does not .*Psychic/,
      /^ack_mode does not .*Never/,
      /^the routes file cannot be used/,
    ],
  },
};

/** Methods of the file, each of which uses something private of Celery or kombu. */
const sabotaged = [
  'set_broker set_prefetch set_ack_mode set_routes',
  'hook_pool report',
  'on_consumer',
  'hook_channel hook_loop',
  'held',
  'slots scheduled changed',
  'beat wake hand_back keep_beating',
];

/** A heartbeat each second: problems are no news and wait for the next one. */
const oftenHeard = ['--heartbeat-interval', '1'];

for (const version of celeryVersions) {
  describe(`a worker that is told wrongly, on Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let heard: Listener;
    let gate: Gate;
    let worker: CeleryWorker;

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
      await worker.stop();
      await gate.remove();
      await redis.command('FLUSHALL');
      heard.forget();
    });

    const basic = (app = 'plain'): PoolBuilder =>
      makePool('a').broker({ url: redis.url }).app(app).queue('work').concurrency(1).prefetch('Multiplier', 4);
    const sendQuick = async (url = redis.url, options = '{}'): Promise<void> => {
      const code = `from celery import Celery
app = Celery()
app.conf.broker_transport_options = ${options}
app.send_task('work.quick', (1,), queue='work')`;
      await runPython(celery, code, { CELERY_BROKER_URL: url });
    };
    const done = (): Promise<unknown> => eventually(async () => (await gate.ended()).length === 1);

    for (const [name, tc] of Object.entries(broken)) {
      it(`runs on with ${name}`, async () => {
        worker = await startWorker({ celery, pool: basic().obj(), gate, env: tc.env, args: oftenHeard });
        await sendQuick();
        await done();
        await eventually(() => {
          const problems = heard.latest()?.problems ?? ['none heard'];
          expect(problems).to.have.length(tc.wantProblems.length);
          tc.wantProblems.forEach((want, index) => expect(problems[index]).to.match(want));
        });
        expect(await worker.log()).not.to.include('Traceback');
      });
    }

    for (const names of sabotaged) {
      it(`runs on with a Celery in which it cannot do: ${names}`, async () => {
        worker = await startWorker({
          celery,
          pool: basic('sabotaged').prefetch('Fair').obj(),
          gate,
          env: { SABOTAGE: names },
        });
        await sendQuick();
        await done();
        worker.signal('SIGTERM');
        expect(await worker.ended()).to.equal(0);
        const log = await worker.log();
        expect(log).to.match(/muster: .* does not work here: AttributeError: no such attribute/);
        expect(log).not.to.include('Traceback');
      });
    }

    it("consumes from the pool's broker although the app names another one to read from", async () => {
      worker = await startWorker({ celery, pool: basic('elsewhere').obj(), gate });
      expect(await worker.log()).to.include(`Connected to redis://`);
      await eventually(() => expect(heard.latest()?.queues).to.deep.equal(['work']));
    });

    it('takes key prefix, priority steps and visibility timeout from the pool and keeps the options of the app', async () => {
      const pool = basic('namespaced').broker({
        url: redis.url,
        keyPrefix: 'shop:',
        prioritySteps: [0, 5],
        visibilityTimeoutSeconds: 43_200,
      });
      worker = await startWorker({ celery, pool: pool.obj(), gate });
      const asked = await runPython(
        celery,
        `from celery import Celery
app = Celery()
app.conf.broker_transport_options = {"global_keyprefix": "shop:"}
import json
print(json.dumps(list(app.control.inspect(timeout=5, limit=1).stats().values())[0]["broker"]["transport_options"]))`,
        { CELERY_BROKER_URL: redis.url },
      );
      expect(JSON.parse(asked)).to.deep.include({
        global_keyprefix: 'shop:',
        priority_steps: [0, 5],
        visibility_timeout: 43_200,
      });
    });

    it('trusts the authority of the pool on TLS, and nobody else', async () => {
      const secure = await startRedis({ tls: true });
      try {
        const secureHeard = await listen(secure);
        const caFile = join(gate.dir, 'trusted.crt');
        await writeFile(caFile, secure.caPem);
        const pool = basic().broker({
          url: secure.url,
          tls: { caFrom: { secretKeyRef: { name: 'ca', key: 'ca.crt' } } },
        });
        worker = await startWorker({ celery, pool: pool.obj(), gate, caFile });
        await eventually(() => expect(secureHeard.latest()?.queues).to.deep.equal(['work']));
        await worker.stop();
        await writeFile(caFile, await writeCertificates(gate.dir, ['localhost']));
        worker = await startWorker({ celery, pool: pool.obj(), gate, caFile }, 'Cannot connect to rediss://');
        expect(await worker.log()).to.match(/certificate|CERTIFICATE/);
        await worker.stop();
        // Without an authority of the pool's the public ones count; kombu by itself would take any certificate.
        const bare = basic().broker({ url: secure.url });
        worker = await startWorker({ celery, pool: bare.obj(), gate }, 'Cannot connect to rediss://');
        expect(await worker.log()).to.match(/certificate|CERTIFICATE/);
      } finally {
        await secure.stop();
      }
    });
  });
}
