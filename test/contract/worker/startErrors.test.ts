/** A worker that was started with something that it cannot use says so in one sentence and ends with 2. */
import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runWorker, tasksFile } from '../../support/nodeRig.ts';

describe('start-up errors of the Node worker', function () {
  this.timeout(60_000);
  let dir: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'muster-tasks-'));
    await writeFile(join(dir, 'throws.mjs'), `throw new Error('no database');\n`);
    await writeFile(join(dir, 'empty.mjs'), 'export const answer = 42;\n');
    await writeFile(join(dir, 'broken.ts'), 'export const = ;\n');
    const defined = `({ kind: 'muster.task', name: 'twice', options: {}, run: () => 1 })`;
    await writeFile(join(dir, 'same.mjs'), `export const one = ${defined}; export const two = ${defined};\n`);
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const good = { tasks: tasksFile, queues: 'work', broker: 'redis://127.0.0.1:1' };
  const refusals: readonly [name: string, flags: Record<string, string>, says: RegExp][] = [
    ['an unknown flag', { shoes: '2' }, /unknown option '--shoes=2'/],
    ['a broker of another kind', { broker: 'amqp://guest@localhost' }, /--broker: .*RabbitMQ is not supported/],
    ['a backend of another kind', { backend: 'db+sqlite:///x' }, /--backend: /],
    ['a tasks file that is not there', { tasks: '/nowhere/tasks.ts' }, /there is no file \/nowhere\/tasks\.ts/],
    ['a tasks file that throws', { tasks: 'DIR/throws.mjs' }, /throws\.mjs cannot be imported \(Error: no database\)/],
    ['a tasks file that is no TypeScript', { tasks: 'DIR/broken.ts' }, /broken\.ts cannot be imported/],
    ['a tasks file without tasks', { tasks: 'DIR/empty.mjs' }, /exports no task/],
    ['two tasks of one name', { tasks: 'DIR/same.mjs' }, /two tasks are called twice/],
    ['prefetch 0', { prefetch: '0' }, /--prefetch .*unlimited/],
    ['prefetch of letters', { prefetch: 'many' }, /--prefetch /],
    ['no slot', { concurrency: '0' }, /--concurrency /],
    ['an empty queue', { queues: 'work,,other' }, /--queues names an empty entry/],
    ['an unknown acknowledgement', { ack: 'never' }, /--ack /],
    ['a visibility timeout of 0', { 'visibility-timeout-seconds': '0' }, /--visibility-timeout-seconds /],
    ['priority steps that are none', { 'priority-steps': 'a,b' }, /--priority-steps /],
    ['a certificate authority that is not there', { 'ca-file': '/nowhere/ca.crt' }, /--ca-file: \/nowhere\/ca\.crt/],
  ];

  for (const [name, flags, says] of refusals) {
    it(name, async () => {
      const all = Object.entries({ ...good, ...flags });
      const worker = runWorker(all.map(([flag, value]) => `--${flag}=${value.replace('DIR', dir)}`));
      expect(await worker.ended(), worker.output()).to.equal(2);
      expect(worker.errors())
        .to.match(says)
        .and.match(/^muster-worker: [^\n]+\n$/);
    });
  }

  it('a flag that is missing', async () => {
    const worker = runWorker([`--tasks=${tasksFile}`, '--queues=work']);
    expect(await worker.ended()).to.equal(2);
    expect(worker.errors()).to.match(/^muster-worker: --broker is missing[^\n]*\n$/);
  });

  it('never repeats the password of a URL', async () => {
    const worker = runWorker([`--tasks=${tasksFile}`, '--queues=work', '--broker=amqp://user:s3cret@host/']);
    expect(await worker.ended()).to.equal(2);
    expect(worker.output()).not.to.contain('s3cret');
  });
});
