/** Tasks with limits, in the main thread and in threads. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sig, task } from '../../../worker/index.ts';

/** Uses the CPU: in the main thread it would hold up everything. */
export const fib = task('cpu.fib', { thread: true }, (_ctx, n: number) => {
  const of = (x: number): number => (x < 2 ? x : of(x - 1) + of(x - 2));
  return of(n);
});
/** Never ends by itself. */
export const spin = task('cpu.spin', { thread: true, timeLimitSeconds: 0.5 }, () => {
  for (;;);
});
export const soft = task('cpu.soft', { thread: true, softTimeLimitSeconds: 0.2 }, (ctx) =>
  sleep(60_000, undefined, { signal: ctx.signal }),
);
export const softInMain = task('main.soft', { softTimeLimitSeconds: 0.2 }, (ctx) =>
  sleep(60_000, undefined, { signal: ctx.signal }),
);
export const again = task('cpu.again', { thread: true, maxRetries: 1 }, (ctx) => {
  if (ctx.retries === 0) throw ctx.retry({ delaySeconds: 0.1 });
  return ctx.retries;
});
class Unsteady extends Error {}
class VeryUnsteady extends Unsteady {}
const quick = { thread: true, retryDelaySeconds: 0.05, maxRetries: 1 } as const;
export const unsteady = task('cpu.unsteady', { ...quick, autoretryFor: [Unsteady] }, (ctx) => {
  if (ctx.retries === 0) throw new VeryUnsteady('again');
  return ctx.retries;
});
export const hopeless = task('cpu.hopeless', quick, (ctx) => {
  throw ctx.retry({ cause: new RangeError('the real cause') });
});
export const states = task('cpu.states', { thread: true }, async (ctx) => {
  // What a task stores of its own may look like a state.
  ctx.updateState('PROGRESS', { percent: 10, status: 'SUCCESS' });
  await sleep(1_000);
  return 'done';
});
export const broken = task('cpu.broken', { thread: true }, () => {
  throw new RangeError('too far');
});
export const unsayable = task('cpu.unsayable', { thread: true }, () => ({ rows: [1, () => 1] }));
export const echo = task('cpu.echo', { thread: true }, (_ctx, ...values: unknown[]) => values);
/** Leaves a promise behind that is rejected. */
export const careless = task('cpu.careless', { thread: true }, () => {
  void Promise.reject(new RangeError('nobody looks'));
  return 'done';
});
/** Starts another task, and lets a third one give its result. */
export const starts = task('cpu.starts', { thread: true }, (ctx) => ctx.send(sig('cpu.fib', [10])));
export const startsWrong = task('cpu.startsWrong', { thread: true }, (ctx) =>
  ctx.send(sig('cpu.fib', [10], { priority: 99 })),
);
export const replaced = task('cpu.replaced', { thread: true }, (ctx) => {
  throw ctx.replace(sig('cpu.fib', [20]));
});
/** In the main thread: ends in order when its soft limit has passed. */
export const patient = task('main.patient', { softTimeLimitSeconds: 0.2 }, async (ctx) => {
  await sleep(60_000, undefined, { signal: ctx.signal }).catch(() => undefined);
  return `ended: ${(ctx.signal.reason as Error).name}`;
});
export const deaf = task('main.deaf', { timeLimitSeconds: 0.3 }, () => sleep(60_000));
