/** What is sent in place of a task that replaces itself. Pure. Source: celery/app/task.py (`replace`). */
import { chainSignature, taskSignature } from '../protocol/canvasForms.ts';
import { ProtocolError } from '../protocol/errors.ts';
import type { TaskMessage } from '../protocol/message.ts';
import type { Signature } from '../protocol/signature.ts';
import { addLinks, draft, setTasks, tasksOf, type Draft } from './draft.ts';
import { freeze, type Ids } from './freeze.ts';

/** The task that gives the first of its arguments back: the body of a group that stands for a single task. */
export const accumulate = 'celery.accumulate';

/**
 * A signature that takes over the id, the callbacks, the chain, the group and the chord of a task. Throws ProtocolError for
 * one that is part of a chord already, and for an empty chain.
 */
export function replacement(message: TaskMessage, signature: Signature, ids: Ids): Signature {
  const { embed, headers } = message;
  let by: Draft = draft(signature);
  if ('chord' in by.options) throw new ProtocolError('invalid', 'a signature that replaces a task is part of a chord');
  if (by.subtask_type === 'chain' && tasksOf(by).length === 0) {
    throw new ProtocolError('invalid', 'a task cannot be replaced with an empty chain');
  }
  const gather = draft(taskSignature(accumulate, { kwargs: { index: 0 } }));
  if (by.subtask_type === 'group') by = chainOf([by, gather]);
  else if (by.subtask_type === 'chain' && tasksOf(by).at(-1)?.subtask_type === 'group')
    setTasks(by, [...tasksOf(by), gather]);
  const last = by.subtask_type === 'chain' ? tasksOf(by).at(-1) : by;
  if (last !== undefined) addLinks(last, 'link', embed.callbacks);
  for (const task of by.subtask_type === 'chain' ? tasksOf(by) : [by]) addLinks(task, 'link_error', embed.errbacks);
  freeze(by, { id: message.id }, ids);
  const before = headers['replaced_task_nesting'];
  const nesting = { replaced_task_nesting: (typeof before === 'number' ? before : 0) + 1 };
  by.options = {
    ...by.options,
    ...(embed.chord === undefined ? {} : { chord: embed.chord }),
    ...(message.groupId === undefined ? {} : { group_id: message.groupId }),
    ...(message.groupIndex === undefined ? {} : { group_index: message.groupIndex }),
    root_id: message.rootId,
    ...nesting,
  };
  if (by.subtask_type === 'chain') for (const task of tasksOf(by)) Object.assign(task.options, nesting);
  if (embed.chain.length === 0) return by;
  const rest = [...embed.chain].reverse().map(draft);
  for (const task of rest) Object.assign(task.options, nesting);
  return chainOf([by, ...rest], { root_id: message.rootId });
}

function chainOf(tasks: readonly Draft[], options: Readonly<Record<string, unknown>> = {}): Draft {
  return draft(chainSignature(tasks, options));
}
