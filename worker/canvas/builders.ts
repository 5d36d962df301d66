/** Signatures as a user writes them: `chain(sig(fetch, [url]), group([sig(resize, [200]), sig(resize, [400])]), sig(notify))`. */
import {
  chainSignature,
  chordSignature,
  groupSignature,
  mapSignature,
  taskSignature,
} from '../protocol/canvasForms.ts';
import { formatIsoTime } from '../protocol/isoTime.ts';
import { isRecord, readSignatures, type Signature } from '../protocol/signature.ts';
import type { Task } from '../task/define.ts';
import { addLinks, draft } from './draft.ts';

/** How a task of a canvas is sent; what is left out is as Celery's default. */
export interface SignatureOptions {
  /** Keyword arguments. */
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Takes no result of the task before it. Default: false, that result is its first argument. */
  readonly immutable?: boolean;
  /** Default: by the routes of whoever sends it. */
  readonly queue?: string;
  /** 0 (served first) to 9. Default: 0. */
  readonly priority?: number;
  /** Default: a new uuid4. */
  readonly id?: string;
  /** Not before so many seconds after it was sent. Not together with `eta`. */
  readonly countdownSeconds?: number;
  readonly eta?: Date;
  /** Not after so many seconds after it was sent. Not together with `expires`. */
  readonly expiresSeconds?: number;
  readonly expires?: Date;
  readonly timeLimitSeconds?: number;
  readonly softTimeLimitSeconds?: number;
  readonly ignoreResult?: boolean;
  /** Sent with the result after success. */
  readonly callbacks?: readonly Signature[];
  /** Sent with the id of the task after a failure. */
  readonly errbacks?: readonly Signature[];
  readonly argsRepr?: string;
  readonly kwargsRepr?: string;
}

/** All arguments of a task, or all but the first: the result of the task before it. */
export type ArgsOf<Args extends readonly unknown[]> =
  Args | (Args extends readonly [unknown, ...infer Rest] ? Rest : Args);

/**
 * A task and its arguments, to be sent later or as a part of a canvas.
 * @throws TypeError for options that contradict each other
 */
export function sig<Args extends unknown[], Result>(
  task: Task<Args, Result>,
  args?: ArgsOf<Args>,
  options?: SignatureOptions,
): Signature;
export function sig(task: string, args?: readonly unknown[], options?: SignatureOptions): Signature;
export function sig(task: Task | string, args: readonly unknown[] = [], settings: SignatureOptions = {}): Signature {
  const { kwargs = {}, immutable = false } = settings;
  const name = typeof task === 'string' ? task : task.name;
  const ignoreResult = typeof task === 'string' ? undefined : task.options.ignoreResult;
  const options = signatureOptions(ignoreResult === undefined ? settings : { ignoreResult, ...settings });
  return taskSignature(name, { args, kwargs, options, immutable });
}

/** The options of Celery that stand for these. */
export function signatureOptions(settings: SignatureOptions): Record<string, unknown> {
  const { eta, countdownSeconds, expires, expiresSeconds, callbacks, errbacks } = settings;
  if (eta !== undefined && countdownSeconds !== undefined)
    throw new TypeError('give eta or countdownSeconds, not both');
  if (expires !== undefined && expiresSeconds !== undefined) {
    throw new TypeError('give expires or expiresSeconds, not both');
  }
  const options = {
    task_id: settings.id,
    queue: settings.queue,
    priority: settings.priority,
    countdown: countdownSeconds,
    eta: eta === undefined ? undefined : formatIsoTime(eta.getTime()),
    expires: expires === undefined ? expiresSeconds : formatIsoTime(expires.getTime()),
    time_limit: settings.timeLimitSeconds,
    soft_time_limit: settings.softTimeLimitSeconds,
    ignore_result: settings.ignoreResult,
    link: callbacks,
    link_error: errbacks,
    argsrepr: settings.argsRepr,
    kwargsrepr: settings.kwargsRepr,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** One after the other, each with the result of the one before. Its result is that of the last one. */
export function chain(...tasks: readonly Signature[]): Signature {
  return chainSignature(tasks);
}

/** All at once. Its result is the list of theirs. */
export function group(tasks: readonly Signature[]): Signature {
  return groupSignature(tasks);
}

/** All of the header at once, then the body with the list of their results. Its result is that of the body. */
export function chord(header: readonly Signature[], body: Signature): Signature {
  return chordSignature(header, body);
}

/** One message that calls a task for each item; its result is the list of theirs. */
export function map(task: Task | string, items: readonly unknown[]): Signature {
  return mapSignature('map', inner(task), items);
}

/** As {@link map}; each item is the list of the arguments. */
export function starmap(task: Task | string, items: readonly (readonly unknown[])[]): Signature {
  return mapSignature('starmap', inner(task), items);
}

/** A group of starmaps of `size` items each. */
export function chunks(task: Task | string, items: readonly (readonly unknown[])[], size: number): Signature {
  if (!Number.isInteger(size) || size < 1)
    throw new TypeError(`the size of chunks is ${size}, not a whole number from 1`);
  const count = Math.ceil(items.length / size);
  return group(Array.from({ length: count }, (_, at) => starmap(task, items.slice(at * size, (at + 1) * size))));
}

function inner(task: Task | string): Signature {
  return taskSignature(typeof task === 'string' ? task : task.name);
}

/** The same with a callback, sent with the result. That of a chord is its body's; a group has none: use a chord. */
export function link(signature: Signature, callback: Signature): Signature {
  if (signature.subtask_type === 'group')
    throw new TypeError('a group has no result of its own to call back with: use a chord');
  return linked(signature, 'link', callback);
}

/** The same with an error callback. A group's is that of each of its tasks. */
export function linkError(signature: Signature, errback: Signature): Signature {
  return linked(signature, 'link_error', errback);
}

function linked(signature: Signature, kind: 'link' | 'link_error', callback: Signature): Signature {
  const copy = draft(signature);
  addLinks(copy, kind, [callback]);
  return copy;
}

/**
 * The same with stamps: headers that every task of it carries, its callbacks too, and that events show.
 * Source: celery/canvas.py (`stamp`).
 */
export function stamp(signature: Signature, stamps: Readonly<Record<string, unknown>>): Signature {
  const names = Object.keys(stamps);
  const before = signature.options['stamped_headers'];
  const known = Array.isArray(before) ? (before as unknown[]) : [];
  const stampAll = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(stampAll)
      : isRecord(value) && typeof value['task'] === 'string'
        ? stamp(value as unknown as Signature, stamps)
        : value;
  const within = ['tasks', 'header', 'body'].filter(
    (name) => signature.subtask_type !== null && name in signature.kwargs,
  );
  const links = ['link', 'link_error'].filter((name) => name in signature.options);
  return {
    ...signature,
    kwargs: {
      ...signature.kwargs,
      ...Object.fromEntries(within.map((name) => [name, stampAll(signature.kwargs[name])])),
    },
    options: {
      ...signature.options,
      ...Object.fromEntries(
        links.map((name) => [name, readSignatures(signature.options[name]).map((each) => stamp(each, stamps))]),
      ),
      ...stamps,
      stamped_headers: [...known, ...names.filter((name) => !known.includes(name))],
    },
  };
}
