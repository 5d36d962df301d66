/**
 * Canvas signatures as plain data: exactly the object that Celery serialises, so that one that only passes through is
 * sent on as it came. Source: celery/canvas.py (5.3 to 5.7).
 *
 * | canvas | task | subtask_type | kwargs |
 * |---|---|---|---|
 * | task | its name | null | the task's |
 * | chain | celery.chain | chain | `tasks`: list |
 * | group | celery.group | group | `tasks`: list |
 * | chord | celery.chord | chord | `header`: group or list, `body`, `kwargs` |
 * | map, starmap | celery.map, celery.starmap | xmap, xstarmap | `task`, `it` |
 * | chunks | celery.chunks | chunks | `task`, `it`, `n` |
 */
import { malformed, type Parsed } from './errors.ts';

/** Options of a signature, as `apply_async` takes them (`task_id`, `link`, `queue`, `stamped_headers`, …). */
export type SignatureOptions = Readonly<Record<string, unknown>>;

/** A task invocation, or a canvas of them. Fields beyond these (`chord_size`) are kept. */
export interface Signature {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SignatureOptions;
  /** `chain`, `group`, `chord`, `xmap`, `xstarmap`, `chunks`; null for a task. */
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
