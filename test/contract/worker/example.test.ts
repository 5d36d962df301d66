/** examples/node-worker as its README tells it: the package from npm, `muster-worker`, producers in Python and TypeScript. */
import { expect } from 'chai';
import { execa } from 'execa';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import getPort from 'get-port';
import { ensureCelery, type Celery } from '../../support/celery.ts';
import { eventually } from '../../support/eventually.ts';
import { buildNodeExample, type NodeExample } from '../../support/nodeExample.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

describe('the example of the Node worker', function () {
  this.timeout(300_000);
  let example: NodeExample;
  let celery: Celery;
  let redis: RedisServer;
  let site: Server;
  let url: string;
  /** What the site answers to the next posts; then 200. */
  let answers: number[] = [];

  before(async () => {
    [example, celery, redis] = await Promise.all([buildNodeExample(), ensureCelery('5.6.3'), startRedis()]);
    site = createServer((request, response) => {
      request.resume();
      response.statusCode = request.method === 'POST' ? (answers.shift() ?? 200) : 200;
      response.end('hello');
    });
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`;
  });
  after(async () => {
    for (const { pid, exitCode, signalCode } of workers) {
      if (exitCode === null && signalCode === null) process.kill(-pid!, 'SIGKILL');
    }
    site.close();
    await redis.stop();
    await example.remove();
  });

  let port: number;
  /** Runs a line of the README on another port. */
  const start = (line: string, options: { detached?: boolean } = {}) =>
    execa('sh', ['-c', line.replaceAll('8080', String(port))], {
      cwd: example.dir,
      env: { REDIS_URL: `${redis.url}/0`, PATH: `${celery.bin}:${process.env['PATH'] ?? ''}` },
      stdin: 'ignore',
      all: true,
      reject: false,
      ...options,
    });
  /** What a plain Celery client gets of a task, or how it failed. */
  const ask = async (call: string): Promise<string> => {
    const redisUrl = JSON.stringify(`${redis.url}/0`);
    const program = [
      'from celery import Celery',
      `app = Celery(broker=${redisUrl}, backend=${redisUrl})`,
      `result = app.send_task(${call}, queue="node")`,
      'value = result.get(timeout=60, propagate=False)',
      'print(result.state, value)',
    ].join('\n');
    return (await execa(`${celery.bin}/python`, ['-c', program])).stdout;
  };

  const page = (): string => `http://127.0.0.1:${port}/healthz`;
  const workers: ReturnType<typeof start>[] = [];
  const startWorker = async (change: (line: string) => string): Promise<void> => {
    port = await getPort();
    const worker = start(`exec ${change(example.command('npx muster-worker'))}`, {
      detached: true,
    });
    workers.unshift(worker);
    let output = '';
    worker.all.setEncoding('utf8').on('data', (text: string) => (output += text));
    await eventually(
      () => {
        if (!output.includes('"connected"')) throw new Error(`the worker did not start:\n${output}`);
      },
      { timeoutMs: 60_000 },
    );
  };
  /** Ctrl-C: every process of the terminal's group gets the signal. */
  const stopWorker = async (): Promise<void> => {
    const [worker] = workers;
    process.kill(-worker!.pid!, 'SIGINT');
    expect((await worker!).all).to.contain('"ended"');
  };

  describe('built', () => {
    before(() => startWorker((line) => line));

    it('is called from TypeScript', async () => {
      const { all } = await start(example.command('npm run --silent producer'));
      expect(all.trim().split('\n')).to.deep.equal([`${page()}: status 200, 2 bytes`, '9592 primes below 100000']);
    });

    it('is called from Python', async () => {
      const { all } = await start(example.command('python3 producer.py'));
      expect(all.trim().split('\n')).to.deep.equal([
        `${page()}: {'status': 200, 'bytes': 2}`,
        '9592 primes below 100000',
      ]);
    });

    it('tries a hook again that is not well, and not one that says no', async () => {
      answers = [503, 500];
      expect(await ask(`"hooks.notify", ["${url}", "hello"]`)).to.equal("SUCCESS {'attempts': 3}");
      answers = [403];
      expect(await ask(`"hooks.notify", ["${url}", "hello"]`))
        .to.contain('FAILURE')
        .and.to.contain('403');
    });

    it('says what is wrong with an argument', async () => {
      expect(await ask('"primes.count", ["many"]'))
        .to.contain('FAILURE')
        .and.to.contain('not below many');
    });

    it('counts what it did, and is ready', async () => {
      const metrics = await start(example.command('curl'));
      expect(metrics.all.split('\n')).to.include.members([
        'muster_worker_tasks_total{task="pages.measure",state="SUCCESS"} 2',
        'muster_worker_tasks_total{task="primes.count",state="SUCCESS"} 2',
      ]);
      const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
      expect(ready.status).to.equal(200);
    });

    it('ends in order', stopWorker);
  });

  it('runs as it is written, without a build', async () => {
    await startWorker((line) => line.replace('./dist/tasks.js', './src/tasks.ts'));
    expect(await ask('"primes.count", [100]')).to.equal('SUCCESS 25');
    await stopWorker();
  });
});
