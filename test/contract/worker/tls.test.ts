/** A broker with TLS and a password: the worker and the client reach it, and nothing that they print has the password in it. */
import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, chord, createClient, sig } from '../../../worker/index.ts';
import { eventually } from '../../support/eventually.ts';
import { nodeApp, spawnNodeWorker } from '../../support/nodeWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const password = 'a-word-that-nobody-may-see';

describe('the Node worker and a broker with TLS and a password', function () {
  this.timeout(60_000);
  let redis: RedisServer;
  let dir: string;
  let url: string;
  let args: string[];
  before(async () => {
    redis = await startRedis({ tls: true, config: { requirepass: password } });
    dir = await mkdtemp(join(tmpdir(), 'muster-tls-'));
    await writeFile(join(dir, 'ca.crt'), redis.caPem);
    url = `${redis.url.replace('://', `://:${password}@`)}/2`;
    args = [`--tasks=${nodeApp('canvas.ts')}`, '--queues=work', '--default-queue=work', `--broker=${url}`];
  });
  after(async () => {
    await redis.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('runs a canvas, results and chords included', async () => {
    const worker = spawnNodeWorker([...args, `--ca-file=${join(dir, 'ca.crt')}`, '--log-level=debug'], {
      GATE_DIR: dir,
    });
    const client = createClient({ broker: url, backend: url, defaultQueue: 'work', caPem: redis.caPem });
    try {
      const parts = [1, 2].map((number) => sig('canvas.add', [number]));
      const result = await client.send(chain(chord(parts, sig('canvas.total')), sig('canvas.add', [10])));
      expect(await result.get({ timeoutMs: 30_000 })).to.equal(13);
      expect(worker.output()).not.to.contain(password);
    } finally {
      await client.close();
      await worker.stop();
    }
  });

  it('says that it does not trust the certificate, and which setting it is', async () => {
    const worker = spawnNodeWorker(args, { GATE_DIR: dir });
    try {
      await eventually(() => expect(worker.output()).to.match(/TLS handshake failed/), { timeoutMs: 30_000 });
      expect(worker.output()).not.to.contain(password);
    } finally {
      await worker.stop();
    }
    const client = createClient({ broker: url, giveUpMs: 100 });
    const error = await client.send('canvas.add', [1]).catch((err: unknown) => err);
    expect(error)
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/TLS handshake failed/);
    expect((error as Error).message).not.to.contain(password);
    await client.close();
  });
});
