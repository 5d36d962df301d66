/** The Node client with a broker that refuses, and with the Node worker. */
import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient, RemoteTaskError } from '../../../worker/index.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

describe('the Node client', () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ users: ['pusher on >pw ~* +lpush +select +client', 'default on >right ~* &* +@all'] });
  });
  after(() => redis.stop());
  const as = (account: string, db = 0): string => redis.url.replace('://', `://${account}@`) + `/${db}`;
  const failureOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => expect.fail('it did not fail'),
      (err: unknown) => err,
    );

  const refusals = {
    'a wrong password': { url: () => as(':wrong'), want: 'WrongPassword' },
    'a database that is not there': { url: () => as(':right', 99), want: 'WrongDatabase' },
  };
  for (const [name, { url, want }] of Object.entries(refusals)) {
    it(`fails at once for ${name}, sending and waiting`, async () => {
      const client = createClient({ broker: url(), backend: url(), giveUpMs: 3_600_000 });
      expect(await failureOf(client.send('a', []))).to.have.property('reason', want);
      const waiting = await failureOf(client.result('x').get());
      expect(waiting).to.have.property('reason', want);
      expect(String(waiting)).not.to.contain('wrong@');
      await client.close();
    });
  }

  it('fails at once when it may send but not read results', async () => {
    const client = createClient({ broker: as('pusher:pw'), backend: as('pusher:pw') });
    const sent = await client.send('a', [], { queue: 'q' });
    expect(await failureOf(sent.get())).to.have.property('reason', 'NoPermission');
    await client.close();
  });

  it('sends to the Node worker and gets values and errors back', async function () {
    this.timeout(60_000);
    const dir = await mkdtemp(join(tmpdir(), 'muster-tasks-'));
    const tasks = join(dir, 'tasks.ts');
    await writeFile(join(dir, 'package.json'), '{"type":"module"}');
    const entry = JSON.stringify(join(root, 'worker/index.ts'));
    await writeFile(
      tasks,
      `import { task } from ${entry};
export const add = task('sum', {}, (ctx, a: number, b: number) => Promise.resolve((a + b) * Number(ctx.kwargs['scale'] ?? 1)));
export const bad = task('bad', {}, () => { throw new RangeError('too far'); });
`,
    );
    const args = ['--import=tsx', 'worker/main.ts', '--tasks', tasks, '--queues', 'sums', '--broker', as(':right')];
    const worker = spawn(process.execPath, [...args, '--backend', as(':right')], { cwd: root, stdio: 'ignore' });
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    const client = createClient({ broker: as(':right'), backend: as(':right'), defaultQueue: 'sums' });
    try {
      const sum = await client.send('sum', [2, 3], { kwargs: { scale: 10 } });
      expect(await sum.get({ timeoutMs: 30_000 })).to.equal(50);
      expect(await sum.state()).to.equal('SUCCESS');
      const err = await failureOf((await client.send('bad')).get({ timeoutMs: 10_000 }));
      expect(err).to.be.instanceOf(RemoteTaskError).and.include({ excType: 'RangeError', excModule: 'javascript' });
    } finally {
      await client.close();
      worker.kill();
      await ended;
      await rm(dir, { recursive: true, force: true });
    }
  });
});
