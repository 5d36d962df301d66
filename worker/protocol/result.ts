/**
 * Results as Celery's key-value backends store and publish them (`celery-task-meta-<id>`).
 * Source: celery/backends/base.py (`_get_result_meta`), celery/result.py (`as_tuple`), celery/states.py.
 */
import { malformed, type Parsed } from './errors.ts';
import { parseFailure, type Failure } from './failure.ts';
import { formatIsoTime, parseIsoTime } from './isoTime.ts';
import { decodeJson, encodeJson } from './kombuJson.ts';
import { isRecord } from './signature.ts';

/** States that Celery knows; tasks may store others (`updateState`). */
export type TaskState =
  'PENDING' | 'RECEIVED' | 'STARTED' | 'SUCCESS' | 'FAILURE' | 'REVOKED' | 'REJECTED' | 'RETRY' | 'IGNORED';

/** The task has ended; `date_done` is set. */
export const readyStates: ReadonlySet<string> = new Set(['SUCCESS', 'FAILURE', 'REVOKED']);

/** `result` is an exception. */
export const exceptionStates: ReadonlySet<string> = new Set(['RETRY', 'FAILURE', 'REVOKED']);

/** A child of a task: its id, its parent's, and for a group those of its members. */
export type ResultTuple = readonly [readonly [id: string, parent: ResultTuple | null], readonly ResultTuple[] | null];

/** The tuple of a single task. */
export function resultTuple(id: string): ResultTuple {
  return [[id, null], null];
}

/** The tuple of a group. */
export function groupTuple(groupId: string, members: readonly ResultTuple[]): ResultTuple {
  return [[groupId, null], members];
}

/** What is stored about a task. */
export interface ResultMeta {
  readonly taskId: string;
  /** A {@link TaskState} or a state of the task's own. */
  readonly status: string;
  /** The value; a {@link Failure} in the states RETRY, FAILURE, REVOKED; `{pid, hostname}` for STARTED. */
  readonly result: unknown;
  readonly traceback?: string | undefined;
  /** Tasks that this one started. */
  readonly children?: readonly ResultTuple[] | undefined;
  /** Unix ms of the end; only written for states that are an end. */
  readonly dateDoneMs?: number | undefined;
  readonly groupId?: string | undefined;
  readonly parentId?: string | undefined;
  /** Fields of `result_extended`: `name`, `args`, `kwargs`, `worker`, `retries`, `queue`, stamps. */
  readonly extended?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Writes the JSON of a result. Throws ProtocolError (`unencodable`) for a result that JSON cannot hold, which the worker
 * turns into a FAILURE.
 */
export function buildResultMeta(meta: ResultMeta): string {
  const { status, dateDoneMs, groupId, parentId } = meta;
  const hasEnded = readyStates.has(status) && dateDoneMs !== undefined;
  const fields = [
    `"status":${JSON.stringify(status)}`,
    `"result":${encodeJson(meta.result, 'the result')}`,
    `"traceback":${encodeJson(meta.traceback ?? null)}`,
    `"children":${encodeJson(meta.children ?? [])}`,
    `"date_done":${hasEnded ? `"${formatIsoTime(dateDoneMs)}"` : 'null'}`,
  ];
  if (groupId !== undefined) fields.push(`"group_id":${JSON.stringify(groupId)}`);
  if (parentId !== undefined) fields.push(`"parent_id":${JSON.stringify(parentId)}`);
  for (const [name, value] of Object.entries(meta.extended ?? {})) {
    fields.push(`${JSON.stringify(name)}:${encodeJson(value, name)}`);
  }
  fields.push(`"task_id":${JSON.stringify(meta.taskId)}`);
  return `{${fields.join(',')}}`;
}

/** Reads the JSON of a result; in the exception states `result` is a {@link Failure}. Never throws. */
export function parseResultMeta(raw: string): Parsed<ResultMeta> {
  const decoded = decodeJson(raw);
  if (decoded.kind === 'malformed') return malformed(`the result is not JSON: ${decoded.why}`);
  if (!isRecord(decoded.value)) return malformed('the result is not an object');
  const {
    status,
    result,
    traceback,
    children,
    date_done: dateDone,
    group_id: groupId,
    parent_id: parentId,
    task_id: taskId,
    ...extended
  } = decoded.value;
  if (typeof status !== 'string') return malformed('the result has no status');
  if (typeof taskId !== 'string') return malformed('the result has no task_id');
  let value = result;
  if (exceptionStates.has(status)) {
    const failure = parseFailure(result);
    if (failure.kind === 'malformed') return failure;
    value = failure.value;
  }
  return {
    kind: 'ok',
    value: {
      taskId,
      status,
      result: value,
      traceback: typeof traceback === 'string' ? traceback : undefined,
      children: readChildren(children),
      dateDoneMs: typeof dateDone === 'string' ? parseIsoTime(dateDone) : undefined,
      groupId: typeof groupId === 'string' ? groupId : undefined,
      parentId: typeof parentId === 'string' ? parentId : undefined,
      extended: Object.keys(extended).length === 0 ? undefined : extended,
    },
  };
}

/** The result of {@link buildResultMeta} for an error. */
export function failureMeta(
  taskId: string,
  status: 'FAILURE' | 'RETRY' | 'REVOKED',
  failure: Failure,
  rest: Omit<ResultMeta, 'taskId' | 'status' | 'result'> = {},
): ResultMeta {
  return { ...rest, taskId, status, result: failure };
}

function readChildren(value: unknown): readonly ResultTuple[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.map((item) => readTuple(item, 0)).filter((tuple) => tuple !== undefined);
}

/** How deep groups within groups are followed. */
const maxTupleDepth = 100;

/** Reads the tuple of a task or group; undefined for anything else. Never throws. */
export function readTuple(value: unknown, depth = 0): ResultTuple | undefined {
  if (!Array.isArray(value) || value.length !== 2 || depth > maxTupleDepth) return undefined;
  const [own, nodes] = value as unknown[];
  const [id, parent] = Array.isArray(own) ? (own as readonly unknown[]) : [own, null];
  if (typeof id !== 'string') return undefined;
  const members = Array.isArray(nodes)
    ? nodes.map((node) => readTuple(node, depth + 1)).filter((tuple) => tuple !== undefined)
    : null;
  return [[id, readTuple(parent, depth + 1) ?? null], members];
}
