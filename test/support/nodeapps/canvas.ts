/** The tasks of ../pyapps/canvas.py, in TypeScript. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { task, type Signature, type TaskContext } from '../../../worker/index.ts';

const file = join(process.env['GATE_DIR'] ?? '/nowhere', 'ran');

function note(ctx: TaskContext, label: string): void {
  const { id, rootId, parentId, groupIndex, stampedHeaders, stamps } = ctx.request;
  const fact = { label, id, root: rootId, parent: parentId ?? null, index: groupIndex ?? null };
  appendFileSync(file, `${JSON.stringify({ ...fact, stamps: stampedHeaders === undefined ? null : stamps })}\n`);
}

const call = (name: string, args: readonly unknown[]): string => `${name}(${JSON.stringify(args).slice(1, -1)})`;

function sum(value: unknown): number {
  return Array.isArray(value) ? value.reduce<number>((before, each) => before + sum(each), 0) : Number(value);
}

export const add = task('canvas.add', {}, (ctx, ...args: number[]) => {
  note(ctx, call('add', args));
  const { scale } = ctx.kwargs;
  return sum(args) * (typeof scale === 'number' ? scale : 1);
});

export const plain = task('canvas.plain', {}, (_ctx, ...args: number[]) => sum(args));

/** Takes a while, and gives its number. */
export const slow = task('canvas.slow', {}, async (_ctx, number: number, ms: number) => {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return number;
});

export const total = task('canvas.total', {}, (ctx, parts: unknown[], given?: number) => {
  const { more = given ?? 0 } = ctx.kwargs;
  note(ctx, call('total', [parts, more]));
  return sum(parts) + Number(more);
});

export const echo = task('canvas.echo', {}, (ctx, ...args: unknown[]) => {
  note(ctx, call('echo', args));
  return args;
});

export const fail = task('canvas.fail', {}, (ctx, ...args: unknown[]) => {
  note(ctx, call('fail', args));
  throw Object.assign(new Error('bad'), { python: { excType: 'ValueError', excModule: 'builtins' } });
});

export const onerror = task('canvas.onerror', {}, (ctx, ...args: unknown[]) => {
  note(ctx, `onerror(${args.length})`);
});

export const again = task('canvas.again', { maxRetries: 2 }, (ctx, ...args: number[]) => {
  note(ctx, call(`again${ctx.retries}`, args));
  if (ctx.retries < 1) throw ctx.retry({ delaySeconds: 0.01 });
  return sum(args);
});

export const replace = task('canvas.replace', {}, (ctx, ...args: unknown[]) => {
  note(ctx, call('replace', args.slice(0, -1)));
  throw ctx.replace(args.at(-1) as Signature);
});

export const child = task('canvas.child', {}, (ctx, signature: Signature) => {
  note(ctx, 'child()');
  ctx.send(signature);
  return 'started';
});
