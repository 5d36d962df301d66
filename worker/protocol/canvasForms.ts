/**
 * Makes and takes apart the signatures of canvases (chain, group, chord, map, starmap, chunks) in the form that Celery
 * serialises. What they mean, and how they are sent, is not known here. Source: celery/canvas.py (5.3 to 5.7).
 */
import { malformed, type Parsed } from './errors.ts';
import { parseSignature, type Signature, type SignatureOptions } from './signature.ts';

/** What of a task's signature is not the default. */
export interface TaskSignatureParts {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly options?: SignatureOptions;
  /** Default: false, it takes the result of the task before it as its first argument. */
  readonly immutable?: boolean;
}

/** The signature of one task. */
export function taskSignature(task: string, parts: TaskSignatureParts = {}): Signature {
  const { args = [], kwargs = {}, options = {}, immutable = false } = parts;
  return { task, args, kwargs, options, subtask_type: null, immutable };
}

function canvas(
  task: string,
  subtaskType: string,
  kwargs: Readonly<Record<string, unknown>>,
  options: SignatureOptions,
): Signature {
  return { task, args: [], kwargs, options, subtask_type: subtaskType, immutable: false };
}

/** One after the other, each with the result of the one before. */
export function chainSignature(tasks: readonly Signature[], options: SignatureOptions = {}): Signature {
  return canvas('celery.chain', 'chain', { tasks }, options);
}

/** All at once. */
export function groupSignature(tasks: readonly Signature[], options: SignatureOptions = {}): Signature {
  return canvas('celery.group', 'group', { tasks }, options);
}

/** All of the header at once, then the body with the list of their results. */
export function chordSignature(
  header: readonly Signature[],
  body: Signature,
  options: SignatureOptions = {},
): Signature {
  return canvas('celery.chord', 'chord', { kwargs: {}, header, body }, options);
}

/** A task of Celery's own that calls `task` for each item (`map`), or with each item as its arguments (`starmap`), itself. */
export function mapSignature(
  kind: 'map' | 'starmap',
  task: Signature,
  items: readonly unknown[],
  options: SignatureOptions = {},
): Signature {
  return taskSignature(`celery.${kind}`, { kwargs: { task, it: items }, options, immutable: true });
}

/** A task of Celery's own that sends a group of starmaps of `size` items each. */
export function chunksSignature(
  task: Signature,
  items: readonly unknown[],
  size: number,
  options: SignatureOptions = {},
): Signature {
  return taskSignature('celery.chunks', { kwargs: { task, it: items, n: size }, options, immutable: true });
}

/** A signature taken apart. */
export type CanvasForm =
  | { readonly kind: 'task' }
  | { readonly kind: 'chain' | 'group'; readonly tasks: readonly Signature[] }
  | { readonly kind: 'chord'; readonly header: readonly Signature[]; readonly body: Signature };

/**
 * Takes a signature apart. Never throws; a type that Celery does not have is malformed. Maps and chunks are tasks: Celery
 * serialises them without a `subtask_type`, and the worker that takes them runs them ({@link parseBuiltinCall}).
 */
export function parseCanvas(signature: Signature): Parsed<CanvasForm> {
  switch (signature.subtask_type) {
    case null:
      return { kind: 'ok', value: { kind: 'task' } };
    case 'chain':
    case 'group':
      return parseTasks(signature, signature.subtask_type);
    case 'chord':
      return parseChord(signature);
    case 'xmap':
    case 'xstarmap':
    case 'chunks':
      return { kind: 'ok', value: { kind: 'task' } };
    default:
      return malformed(`the signature has the unknown type ${JSON.stringify(signature.subtask_type.slice(0, 60))}`);
  }
}

function parseTasks(signature: Signature, kind: 'chain' | 'group'): Parsed<CanvasForm> {
  const tasks = parseList(signature.kwargs['tasks'], `the ${kind}'s tasks`);
  return tasks.kind === 'ok' ? { kind: 'ok', value: { kind, tasks: tasks.value } } : tasks;
}

function parseChord({ kwargs }: Signature): Parsed<CanvasForm> {
  const body = parseSignature(kwargs['body'], "the chord's body");
  if (body.kind === 'malformed') return body;
  const { header } = kwargs;
  // Celery sends a list, and takes a group, a chain (for the list of its tasks) or a single task too.
  if (Array.isArray(header)) {
    const tasks = parseList(header, "the chord's header");
    return tasks.kind === 'ok'
      ? { kind: 'ok', value: { kind: 'chord', header: tasks.value, body: body.value } }
      : tasks;
  }
  const single = parseSignature(header, "the chord's header");
  if (single.kind === 'malformed') return single;
  if (single.value.subtask_type !== 'group' && single.value.subtask_type !== 'chain') {
    return { kind: 'ok', value: { kind: 'chord', header: [single.value], body: body.value } };
  }
  const tasks = parseList(single.value.kwargs['tasks'], "the chord's header");
  return tasks.kind === 'ok' ? { kind: 'ok', value: { kind: 'chord', header: tasks.value, body: body.value } } : tasks;
}

/** What a task of Celery's own that every worker has is asked to do. */
export type BuiltinCall =
  | { readonly kind: 'map' | 'starmap'; readonly task: Signature; readonly items: readonly unknown[] }
  | { readonly kind: 'chunks'; readonly task: Signature; readonly items: readonly unknown[]; readonly size: number };

const builtins: ReadonlyMap<string, BuiltinCall['kind']> = new Map([
  ['celery.map', 'map'],
  ['celery.starmap', 'starmap'],
  ['celery.chunks', 'chunks'],
]);

/** Reads a call of `celery.map`, `celery.starmap` or `celery.chunks`; undefined for any other task. Never throws. */
export function parseBuiltinCall(
  task: string,
  kwargs: Readonly<Record<string, unknown>>,
): Parsed<BuiltinCall> | undefined {
  const kind = builtins.get(task);
  if (kind === undefined) return undefined;
  const inner = parseSignature(kwargs['task'], `the task of ${task}`);
  if (inner.kind === 'malformed') return inner;
  const { it, n: size } = kwargs;
  if (!Array.isArray(it)) return malformed(`the items of ${task} are not a list`);
  const items = it as unknown[];
  if (kind !== 'chunks') return { kind: 'ok', value: { kind, task: inner.value, items } };
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1) {
    return malformed(`the size of ${task} is not a whole number from 1`);
  }
  return { kind: 'ok', value: { kind, task: inner.value, items, size } };
}

function parseList(value: unknown, name: string): Parsed<readonly Signature[]> {
  if (!Array.isArray(value)) return malformed(`${name} are not a list`);
  const signatures: Signature[] = [];
  for (const [i, item] of (value as unknown[]).entries()) {
    const parsed = parseSignature(item, `${name}[${i}]`);
    if (parsed.kind === 'malformed') return parsed;
    signatures.push(parsed.value);
  }
  return { kind: 'ok', value: signatures };
}
