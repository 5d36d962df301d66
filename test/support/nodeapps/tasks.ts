/** Tasks of a user of the Node worker, for tests. A gated task waits for a file, as those of ../pyapps do. */
import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Reject, task } from '../../../worker/index.ts';

const dir = process.env['GATE_DIR'] ?? '/nowhere';
const note = (what: string, name: unknown): void => appendFileSync(join(dir, what), `${String(name)}\n`);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const add = task('node.add', {}, (ctx, a: number, b: number) => {
  const scale = ctx.kwargs['scale'];
  return (a + b) * (typeof scale === 'number' ? scale : 1);
});

export const echo = task('node.echo', {}, (_ctx, value: unknown) => value);

export const fail = task('node.fail', {}, (_ctx, message: string) => {
  throw new RangeError(message);
});

export const silent = task('node.silent', { ignoreResult: true }, () => 'nobody reads this');

/** Notes every run, and fails until it was retried `times` times. */
export const flaky = task('node.flaky', { maxRetries: 3 }, (ctx, times: number) => {
  note('started', `${ctx.id} ${ctx.retries}`);
  if (ctx.retries < times) throw ctx.retry({ delaySeconds: 0.05, cause: new Error('not yet') });
  return ctx.retries;
});

export const rejected = task('node.rejected', {}, (ctx) => {
  note('started', ctx.id);
  throw new Reject('no', { requeue: !ctx.request.redelivered });
});

export const gated = task('node.gated', {}, async (_ctx, name: string) => {
  note('started', name);
  while (!existsSync(join(dir, 'open'))) await sleep(20);
  note('ended', name);
});

/** One line when it begins and one when it ends; `ms` between. */
export const numbered = task('node.numbered', { ignoreResult: true }, async (_ctx, number: number, ms: number) => {
  note('started', `${number} ${process.pid}`);
  if (ms > 0) await sleep(ms);
  note('ended', number);
});

export const pair = task(
  'node.pair',
  {
    parseArgs: (args) => {
      if (args.length !== 2 || args.some((each) => typeof each !== 'number'))
        throw new TypeError('two numbers, please');
      return args;
    },
  },
  (_ctx, a: number, b: number) => a * b,
);

/** Leaves a promise behind that nobody waits for: at once, while it goes on, or only after its own end. */
export const careless = task('node.careless', {}, async (_ctx, when: string) => {
  const fails = async (ms: number): Promise<never> => {
    if (ms > 0) await sleep(ms);
    throw new Error('nobody looks');
  };
  if (when === 'late') void fails(100);
  else void fails(when === 'at once' ? 0 : 10);
  if (when === 'meanwhile') await sleep(50);
  return 'done';
});

/** Waits for a promise only after it was rejected. */
export const slowToLook = task('node.slowToLook', {}, async () => {
  const failing = Promise.reject(new Error('somebody looks'));
  await sleep(30);
  return failing.catch((err: unknown) => (err as Error).message);
});
