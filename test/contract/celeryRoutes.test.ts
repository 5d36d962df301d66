/** The routing table is honoured by workers and by plain producers, and beside what the user has, not instead of it. */
import { expect } from 'chai';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WorkerPool } from '../../operator/api/v1alpha1/workerpool.ts';
import { buildRoutes } from '../../operator/plan/routing.ts';
import { makePool } from '../support/builders.ts';
import { celeryVersions, ensureCelery, listen, makeGate, runPython, startWorker } from '../support/celery.ts';
import type { Celery, CeleryWorker, Gate, Listener } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redisServer.ts';

for (const version of celeryVersions) {
  describe(`routes on Celery ${version}`, function () {
    this.timeout(60_000);
    let celery: Celery;
    let redis: RedisServer;
    let heard: Listener;
    let gate: Gate;
    let worker: CeleryWorker | undefined;
    let mount: RoutesMount;

    before(async function () {
      this.timeout(180_000);
      celery = await ensureCelery(version);
      redis = await startRedis();
      heard = await listen(redis);
    });
    after(() => redis.stop());
    beforeEach(async () => {
      gate = await makeGate();
      mount = await makeRoutesMount();
    });
    afterEach(async () => {
      await worker?.stop();
      worker = undefined;
      await gate.remove();
      await mount.remove();
      await redis.command('FLUSHALL');
      heard.forget();
    });

    const poolOf = (app: string): WorkerPool =>
      makePool('a').broker({ url: redis.url }).app(app).queue('work', 'work.*').concurrency(1).obj();
    const produce = async (code: string): Promise<void> => {
      await runPython(celery, code, { CELERY_BROKER_URL: redis.url, ROUTES: mount.file });
    };
    /** Asks the worker to send `reports.made` (and for some apps more), from its pool process. */
    const letWorkerSend = (app: string): Promise<void> =>
      produce(`import ${app}\n${app}.send.apply_async((1,), queue='work')`);
    const length = async (queue: string): Promise<number> => Number(await redis.command('LLEN', queue));

    it('sends a plain producer to the queues of the table', async () => {
      const table = buildRoutes([
        makePool('long').queue('reports', 'reports.*', 'exports.yearly').obj(),
        makePool('short').queue('exports', 'exports.*').obj(),
      ]);
      await mount.write(table.json);
      await produce(
        [
          'import json, os',
          'from celery import Celery',
          'app = Celery()',
          'app.conf.task_routes = json.load(open(os.environ["ROUTES"]))',
          'for task in ("reports.a", "exports.yearly", "exports.daily", "mail.send"): app.send_task(task)',
        ].join('\n'),
      );
      expect({ reports: await length('reports'), exports: await length('exports') }).to.deep.equal({
        reports: 2,
        exports: 1,
      });
      expect(await length('celery')).to.equal(1);
    });

    it('stands before the routes that the user has, which stay for all other tasks', async () => {
      await mount.write('{"reports.*": {"queue": "tables-choice"}}');
      worker = await startWorker({ celery, pool: poolOf('namespaced'), gate, routesFile: mount.file });
      await letWorkerSend('namespaced');
      await eventually(async () => {
        expect(await length('tables-choice')).to.equal(1);
        expect(await length('own')).to.equal(1);
        expect(await length('celery')).to.equal(1);
      });
      expect(await length('users-choice')).to.equal(0);
    });

    it('follows a ConfigMap that changes, without a restart', async () => {
      worker = await startWorker({ celery, pool: poolOf('plain'), gate, routesFile: mount.file });
      await letWorkerSend('plain');
      await eventually(async () => expect(await length('celery')).to.equal(1));
      for (const queue of ['first', 'second']) {
        await mount.write(`{"reports.*": {"queue": "${queue}"}}`);
        await eventually(async () => {
          await letWorkerSend('plain');
          await eventually(async () => expect(await length(queue)).to.be.at.least(1), { timeoutMs: 500 });
        });
      }
    });

    it('keeps the last good table when the file breaks, says so, and forgets it when the file is mended', async () => {
      await mount.write('{"reports.*": {"queue": "good"}}');
      const args = ['--heartbeat-interval', '1'];
      worker = await startWorker({ celery, pool: poolOf('plain'), gate, routesFile: mount.file, args });
      for (const broken of ['{"reports.*": ', '["reports.*"]', '{"reports.*": {"exchange": "x"}}']) {
        await mount.write(broken);
        await eventually(() => expect(heard.latest()?.problems.join()).to.include('the routes file cannot be used'));
        const before = await length('good');
        await letWorkerSend('plain');
        await eventually(async () => expect(await length('good')).to.equal(before + 1));
        await mount.write('{"reports.*": {"queue": "good"}, "x": {"queue": "y"}}');
        await eventually(() => expect(heard.latest()?.problems).to.deep.equal([]));
      }
    });

    it('leaves a task where the user sends it when the app forbids new queues, and says so', async () => {
      await mount.write('{"reports.*": {"queue": "reports"}}');
      worker = await startWorker({ celery, pool: poolOf('elsewhere'), gate, routesFile: mount.file });
      await produce(
        "import os\nfrom celery import Celery\napp = Celery()\napp.send_task('work.send', (1,), queue='work')",
      );
      await eventually(async () => expect(await length('celery')).to.equal(1));
      expect(await length('reports')).to.equal(0);
      expect(heard.latest()?.problems.join()).to.match(/task_queues.*reports/);
    });
  });
}

/** A folder as kubelet mounts a ConfigMap: the file is a link through a link that is swapped. */
interface RoutesMount {
  readonly file: string;
  write(json: string): Promise<void>;
  remove(): Promise<void>;
}

async function makeRoutesMount(): Promise<RoutesMount> {
  const dir = await mkdtemp(join(tmpdir(), 'muster-routes-'));
  let generation = 0;
  await symlink(join('..data', 'routes.json'), join(dir, 'routes.json'));
  return {
    file: join(dir, 'routes.json'),
    async write(json) {
      const name = `..${String((generation += 1))}`;
      await mkdir(join(dir, name));
      await writeFile(join(dir, name, 'routes.json'), json);
      await symlink(name, join(dir, '..data_tmp'));
      await rename(join(dir, '..data_tmp'), join(dir, '..data'));
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
