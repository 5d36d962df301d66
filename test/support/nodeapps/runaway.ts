/** Tasks that ask for what cannot be, or throw where nobody can catch it. */
import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { task } from '../../../worker/index.ts';

const dir = process.env['GATE_DIR'] ?? '/nowhere';

/** Asks for a retry after a delay that its message names: JSON has neither NaN nor Infinity. */
const again = (ctx: Parameters<Parameters<typeof task>[2]>[0], delay: string): Error =>
  ctx.retry({ delaySeconds: Number(delay) });
export const retryInMain = task('main.again', {}, (ctx, delay: string) => {
  throw again(ctx, delay);
});
export const retryInThread = task('cpu.again', { thread: true }, (ctx, delay: string) => {
  throw again(ctx, delay);
});
export const hasOptions = task('main.options', { autoretryFor: true, retryDelaySeconds: 1e13 }, () => {
  throw new TypeError('the real cause');
});

export const echo = task('main.echo', {}, (_ctx, value: unknown) => value);

/** What it throws cannot be read: its settlement throws too. */
export const unreadable = task('main.unreadable', {}, () => {
  throw Object.defineProperty(new Error('unreadable'), 'stack', {
    get: () => {
      throw new RangeError('its stack cannot be read');
    },
  });
});

/** Tells whether its signal has aborted when it has run for a little. */
const isAborted = async (signal: AbortSignal): Promise<boolean> => {
  await sleep(100);
  return signal.aborted;
};
export const unlimitedInMain = task('main.unlimited', {}, (ctx) => isAborted(ctx.signal));
export const unlimitedInThread = task('cpu.unlimited', { thread: true }, (ctx) => isAborted(ctx.signal));
export const zeroInMain = task('main.zero', { softTimeLimitSeconds: 0, timeLimitSeconds: 0 }, (ctx) =>
  isAborted(ctx.signal),
);
export const zeroInThread = task('cpu.zero', { thread: true, softTimeLimitSeconds: 0, timeLimitSeconds: 0 }, (ctx) =>
  isAborted(ctx.signal),
);
/** Waits for its signal and nothing else. */
export const patientInThread = task(
  'cpu.patient',
  { thread: true, softTimeLimitSeconds: 0.2 },
  (ctx) =>
    new Promise((resolve) => {
      ctx.signal.addEventListener('abort', () => resolve((ctx.signal.reason as Error).name));
    }),
);

/** Throws where nobody can catch it, at once or when the gate opens, and goes on. */
export const bomb = task('main.bomb', { autoretryFor: true }, async (ctx, when: 'now' | 'open') => {
  appendFileSync(join(dir, 'started'), `${ctx.id}\n`);
  const timer = setInterval(() => {
    if (when === 'open' && !existsSync(join(dir, 'open'))) return;
    clearInterval(timer);
    throw new RangeError('nobody can catch this');
  }, 10);
  await sleep(600_000);
});
export const forever = task('main.forever', {}, () => sleep(600_000));
