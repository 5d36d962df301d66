/**
 * Canvas signatures as plain data: exactly the object that Celery serialises, so that one that only passes through is
 * sent on as it came. Source: celery/canvas.py (5.3 to 5.7).
 *
 * | canvas | task | subtask_type | kwargs |
 * |---|---|---|---|
 * | task | its name | null | the task's |
 * | chain | celery.chain | chain | `tasks`: list |
 * | group | celery.group | group | `tasks`: list |
 * | chord | celery.chord | chord | `header`: list (in a chain: group), `body`, `kwargs` |
 * | map, starmap | celery.map, celery.starmap | null | `task`, `it` |
 * | chunks | celery.chunks | null | `task`, `it`, `n` |
 */
import { malformed, type Parsed } from './errors.ts';

/** Options of a signature, as `apply_async` takes them (`task_id`, `link`, `queue`, `stamped_headers`, …). */
export type SignatureOptions = Readonly<Record<string, unknown>>;

/** A task invocation, or a canvas of them. Fields beyond these are kept. */
export interface Signature {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SignatureOptions;
  /** `chain`, `group`, `chord`; null for a task. */
  readonly subtask_type: string | null;
  /** True: it does not take the result of the task before it. */
  readonly immutable: boolean;
  readonly [more: string]: unknown;
}

/** Reads a signature. Never throws. `name` is what the sentence calls it. */
export function parseSignature(value: unknown, name = 'the signature'): Parsed<Signature> {
  if (!isRecord(value)) return malformed(`${name} is not an object`);
  const { task, args, kwargs, options, subtask_type: subtaskType, immutable } = value;
  if (typeof task !== 'string' || task === '') return malformed(`${name} names no task`);
  if (args !== undefined && args !== null && !Array.isArray(args))
    return malformed(`${name} has args that are no list`);
  if (kwargs !== undefined && kwargs !== null && !isRecord(kwargs)) {
    return malformed(`${name} has kwargs that are no object`);
  }
  if (options !== undefined && options !== null && !isRecord(options)) {
    return malformed(`${name} has options that are no object`);
  }
  return {
    kind: 'ok',
    value: {
      ...value,
      task,
      args: args ?? [],
      kwargs: kwargs ?? {},
      options: options ?? {},
      subtask_type: typeof subtaskType === 'string' ? subtaskType : null,
      immutable: immutable === true,
    },
  };
}

/** True for an object with names and values: not null, not an array, not one of the value classes. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** What is merged into a signature when it is called. */
export interface SignatureCall {
  /** Go in front of the signature's own. */
  readonly args?: readonly unknown[];
  /** Win over the signature's own. */
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Win over the signature's own; undefined and null are passed over. */
  readonly options?: SignatureOptions;
}

/**
 * A signature as it is called: arguments go in front unless it is immutable, options win, except for the group that it is a
 * member of and its stamps, whose change would stall what waits for them. (`Signature._merge`.)
 */
export function mergeSignature(signature: Signature, { args, kwargs, options }: SignatureCall): Signature {
  const own = signature.options;
  const stamped = Array.isArray(own['stamped_headers']) ? (own['stamped_headers'] as unknown[]) : [];
  const kept = new Set<unknown>(['group_id', 'stamped_headers', ...stamped]);
  const merged: Record<string, unknown> = { ...own };
  for (const [name, value] of Object.entries(options ?? {})) {
    if (value === undefined || value === null || (kept.has(name) && name in own)) continue;
    merged[name] = value;
  }
  if (signature.immutable) return { ...signature, options: merged };
  return {
    ...signature,
    args: args === undefined || args.length === 0 ? signature.args : [...args, ...signature.args],
    kwargs: kwargs === undefined ? signature.kwargs : { ...signature.kwargs, ...kwargs },
    options: merged,
  };
}

/** The same signature with these options set, whatever it had. (`Signature.set`.) */
export function setOptions(signature: Signature, options: SignatureOptions): Signature {
  return { ...signature, options: { ...signature.options, ...options } };
}

/** Who a signature is, given before it is sent. */
export interface SignatureIdentity {
  /** Used only if it has no `task_id` yet. */
  readonly taskId: string;
  readonly rootId?: string | undefined;
  readonly parentId?: string | undefined;
  /** Used only if it has no `group_id` yet. */
  readonly groupId?: string | undefined;
  readonly groupIndex?: number | undefined;
  /** The body of the chord that it is a part of. */
  readonly chord?: Signature | undefined;
  /** Used only if it has no `reply_to` yet. */
  readonly replyTo?: string | undefined;
}

/** A signature with an id, so that others can refer to it before it is sent. For a task, not a canvas. (`Signature.freeze`.) */
export function freezeSignature(signature: Signature, identity: SignatureIdentity): Signature {
  const { taskId, rootId, parentId, groupId, groupIndex, chord, replyTo } = identity;
  const own = signature.options;
  const options: Record<string, unknown> = { ...own };
  options['task_id'] ??= taskId;
  if (rootId !== undefined) options['root_id'] = rootId;
  if (parentId !== undefined) options['parent_id'] = parentId;
  if (replyTo !== undefined && !('reply_to' in own)) options['reply_to'] = replyTo;
  if (groupId !== undefined && !('group_id' in own)) options['group_id'] = groupId;
  if (chord !== undefined) options['chord'] = chord;
  if (groupIndex !== undefined) options['group_index'] = groupIndex;
  return { ...signature, options };
}

/** The `task_id` that a signature was given. */
export function signatureId(signature: Signature): string | undefined {
  const id = signature.options['task_id'];
  return typeof id === 'string' && id !== '' ? id : undefined;
}

/** Adds a callback (`link`) or errback (`link_error`), unless it is there already. (`append_to_list_option`.) */
export function addLink(signature: Signature, kind: 'link' | 'link_error', linked: Signature): Signature {
  const links = readLinks(signature, kind);
  const text = JSON.stringify(linked);
  if (links.some((link) => JSON.stringify(link) === text)) return signature;
  return setOptions(signature, { [kind]: [...links, linked] });
}

/** The callbacks or errbacks of a signature; whatever is no signature among them is left out. */
export function readLinks(signature: Signature, kind: 'link' | 'link_error'): readonly Signature[] {
  return readSignatures(signature.options[kind]);
}

/** A list of signatures, or a single one as a list of one; whatever is no signature is left out. */
export function readSignatures(value: unknown): readonly Signature[] {
  if (value === undefined || value === null) return [];
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  return items.flatMap((item) => {
    const parsed = parseSignature(item);
    return parsed.kind === 'ok' ? [parsed.value] : [];
  });
}

/** The next task of a chain as a message carries it (reversed), and what is then left of it. */
export function popChain(chain: readonly Signature[]): { next: Signature; rest: readonly Signature[] } | undefined {
  const next = chain.at(-1);
  return next === undefined ? undefined : { next, rest: chain.slice(0, -1) };
}
