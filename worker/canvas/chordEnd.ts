/** What the values of a chord's parts come to: the list that its body takes, or the error that it ends with. Pure. */
import { describeError, parseFailure, type Failure } from '../protocol/failure.ts';
import { decodeJson } from '../protocol/kombuJson.ts';
import { reprArgs, reprValue } from '../protocol/pythonRepr.ts';
import { exceptionStates, parseResultMeta, readTuple, type ResultTuple } from '../protocol/result.ts';
import { isRecord } from '../protocol/signature.ts';

/** A part of a chord has failed: the body does not run. A Python client sees `celery.exceptions.ChordError`. */
export class ChordError extends Error {
  override readonly name = 'ChordError';
  readonly python = { excType: 'ChordError', excModule: 'celery.exceptions' };
  /** What the part failed with. */
  readonly failure: Failure;

  constructor(message: string, failure?: Failure) {
    super(message);
    this.failure = failure ?? describeError(this);
  }
}

/** An exception as Python shows it: `ValueError('bad')`. */
export function reprFailure({ exc_type: type, exc_message: args }: Failure): string {
  const [only, ...more] = args;
  return `${type}${args.length === 1 && more.length === 0 ? `(${reprValue(only)})` : reprArgs(args)}`;
}

/** The values of plain parts, each JSON of `[1, id, state, result]`. Throws ChordError for one that failed. */
export function joinParts(parts: readonly string[]): unknown[] {
  return parts.map((part) => {
    const decoded = decodeJson(part);
    if (decoded.kind === 'malformed' || !Array.isArray(decoded.value)) {
      throw new ChordError(`Join error: a part cannot be read`);
    }
    const [, id, state, value] = decoded.value as unknown[];
    if (!exceptionStates.has(String(state))) return value;
    const failure = failureOf(value);
    throw new ChordError(`Dependency ${String(id)} raised ${reprFailure(failure)}`, failure);
  });
}

/** The form of a header that has groups within, as it was saved; undefined when it cannot be read. */
export function readSavedGroup(saved: string): ResultTuple | undefined {
  const decoded = decodeJson(saved);
  return decoded.kind === 'ok' && isRecord(decoded.value) ? readTuple(decoded.value['result']) : undefined;
}

/** The ids of the tasks in a tuple, in order. */
export function leavesOf([[id], members]: ResultTuple): string[] {
  return members === null ? [id] : members.flatMap(leavesOf);
}

/**
 * The values of a header that has groups within, in its form.
 * @param metas JSON of each leaf's stored result
 */
export function joinGroup(tuple: ResultTuple, metas: ReadonlyMap<string, string | undefined>): unknown {
  const [[id], members] = tuple;
  if (members !== null) return members.map((member) => joinGroup(member, metas));
  const raw = metas.get(id);
  const parsed = raw === undefined ? undefined : parseResultMeta(raw);
  if (parsed?.kind !== 'ok') throw new ChordError("Join error: TimeoutError('The operation timed out.')");
  const { status, result } = parsed.value;
  if (!exceptionStates.has(status)) return result;
  const failure = failureOf(result);
  throw new ChordError(`Join error: ${reprFailure(failure)}`, failure);
}

function failureOf(value: unknown): Failure {
  const parsed = parseFailure(value);
  return parsed.kind === 'ok' ? parsed.value : describeError(new Error('unreadable'));
}
