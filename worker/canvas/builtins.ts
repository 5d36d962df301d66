/**
 * Celery's own tasks, which other workers send to whoever consumes a queue. Source: celery/app/builtins.py (`celery.map`,
 * `celery.starmap`, `celery.chunks`, `celery.accumulate`).
 */
import { groupSignature, mapSignature, parseBuiltinCall } from '../protocol/canvasForms.ts';
import { groupTuple, resultTuple } from '../protocol/result.ts';
import { NotRegistered } from '../task/errors.ts';
import type { TaskContext } from '../task/context.ts';
import { task, type Task } from '../task/define.ts';
import type { Signature } from '../protocol/signature.ts';
import { accumulate } from './replace.ts';

/**
 * The tasks.
 * @param find finds the tasks that a map calls; it runs them itself, in the main thread
 * @param newId gives a uuid4
 */
export function builtinTasks(find: (name: string) => Task | undefined, newId: () => string): readonly Task[] {
  const mapTask = (kind: 'map' | 'starmap'): Task =>
    task(`celery.${kind}`, {}, async (ctx): Promise<unknown[]> => {
      const call = parseBuiltinCall(ctx.name, ctx.kwargs);
      if (call?.kind === 'malformed') throw new TypeError(call.why);
      const { task: inner, items } = (call as NonNullable<typeof call>).value;
      const called = find(inner.task);
      if (called === undefined) throw new NotRegistered(inner.task);
      const results: unknown[] = [];
      for (const item of items)
        results.push(await callWith(called, inner, kind === 'map' ? [item] : listOf(item), ctx));
      return results;
    });
  return [
    mapTask('map'),
    mapTask('starmap'),
    task('celery.chunks', {}, (ctx): unknown => {
      const call = parseBuiltinCall(ctx.name, ctx.kwargs);
      if (call?.kind === 'malformed') throw new TypeError(call.why);
      if (call?.value.kind !== 'chunks') throw new TypeError('celery.chunks has no size');
      const { task: inner, items, size } = call.value;
      const starts = Array.from({ length: Math.ceil(items.length / size) }, (_, place) => place * size);
      const parts = starts.map((at) =>
        mapSignature('starmap', inner, items.slice(at, at + size), { task_id: newId() }),
      );
      const id = newId();
      ctx.send(groupSignature(parts, { task_id: id }));
      return groupTuple(
        id,
        parts.map((part) => resultTuple(String(part.options['task_id']))),
      );
    }),
    task(accumulate, {}, (ctx, ...args: unknown[]) => {
      const { index } = ctx.kwargs;
      return typeof index === 'number' ? args[index] : args;
    }),
  ];
}

function listOf(item: unknown): readonly unknown[] {
  if (!Array.isArray(item)) throw new TypeError('an item of celery.starmap is not a list of arguments');
  return item as unknown[];
}

function callWith(called: Task, { args, kwargs }: Signature, item: readonly unknown[], ctx: TaskContext): unknown {
  const all = [...item, ...args];
  const inner: TaskContext = {
    ...{ id: ctx.id, name: called.name, retries: ctx.retries, kwargs, request: ctx.request, signal: ctx.signal },
    retry: (options) => ctx.retry(options),
    send: (signature) => ctx.send(signature),
    replace: (signature) => ctx.replace(signature),
    updateState: (state, meta) => ctx.updateState(state, meta),
  };
  return called.run(inner, ...((called.options.parseArgs?.(all) ?? all) as never[]));
}
