/**
 * Gives the tasks of a canvas their ids before anything is sent, and turns chains into steps. Pure: ids are made by what is
 * passed in. Source: celery/canvas.py (`freeze`, `prepare_steps`).
 */
import type { Signature } from '../protocol/signature.ts';
import {
  addLinks,
  bodyOf,
  isEmptyGroup,
  setTasks,
  tasksOf,
  textOption,
  unrollGroup,
  type Draft,
  type Promised,
} from './draft.ts';

/** Where ids come from. */
export interface Ids {
  /** A new uuid4. */
  readonly newId: () => string;
  /** The `reply_to` of tasks that have none. */
  readonly replyTo: string;
}

/** What a signature is given. */
export interface Place {
  readonly id?: string | undefined;
  readonly rootId?: string | undefined;
  readonly parentId?: string | undefined;
  readonly groupId?: string | undefined;
  readonly groupIndex?: number | undefined;
  /** The body of the chord that it is a part of. */
  readonly chord?: Draft | undefined;
}

/** Gives a signature, and all within it, ids where they have none. */
export function freeze(of: Draft, place: Place, ids: Ids): Promised {
  switch (of.subtask_type) {
    case 'chain': {
      const { results } = prepareSteps([], {}, tasksOf(of), { ...place, parentId: undefined }, ids);
      const [last] = results;
      of.options['task_id'] = last?.id ?? place.id ?? ids.newId();
      return last ?? { id: String(of.options['task_id']) };
    }
    case 'group':
      return freezeGroup(of, place, ids);
    case 'chord':
      return freezeChord(of, place, ids);
    default:
      return freezeTask(of, place, ids);
  }
}

function freezeTask({ options }: Draft, place: Place, ids: Ids): Promised {
  const { rootId, parentId, groupId, groupIndex, chord } = place;
  options['task_id'] ??= place.id ?? ids.newId();
  if (rootId !== undefined) options['root_id'] = rootId;
  if (parentId !== undefined) options['parent_id'] = parentId;
  if (!('reply_to' in options)) options['reply_to'] = ids.replyTo;
  if (groupId !== undefined && !('group_id' in options)) options['group_id'] = groupId;
  if (chord !== undefined) options['chord'] = chord;
  if (groupIndex !== undefined) options['group_index'] = groupIndex;
  return { id: String(options['task_id']) };
}

/** Groups within the group become part of it. */
export function freezeGroup(of: Draft, place: Place, ids: Ids): Promised {
  const { options } = of;
  options['task_id'] ??= ids.newId();
  if (place.groupId !== undefined) options['group_id'] = place.groupId;
  if (place.chord !== undefined) options['chord'] = place.chord;
  if (place.groupIndex !== undefined) options['group_index'] = place.groupIndex;
  const rootId = textOption(of, 'root_id') ?? place.rootId;
  const parentId = textOption(of, 'parent_id') ?? place.parentId;
  const flat: Draft[] = [];
  const stack = [...tasksOf(of)];
  for (let task = stack.shift(); task !== undefined; task = stack.shift()) {
    // Celery puts those of a group in front one by one, so that they come in reverse: a client that joins them expects it.
    if (task.subtask_type === 'group') stack.unshift(...[...tasksOf(task)].reverse());
    else if (task.subtask_type !== 'chain' || tasksOf(task).length > 0) flat.push(task);
  }
  setTasks(of, flat);
  const { groupId, chord } = place;
  const members = flat.map((task, groupIndex) => freeze(task, { groupId, chord, rootId, parentId, groupIndex }, ids));
  return { id: String(options['task_id']), members };
}

function freezeChord(of: Draft, place: Place, ids: Ids): Promised {
  const { id, rootId, parentId, groupId, groupIndex, chord } = place;
  const body = bodyOf(of);
  const group = groupDraft(tasksOf(of), textOption(of, 'task_id'));
  const header = freezeGroup(group, { parentId, rootId, chord: body }, ids);
  setTasks(of, tasksOf(group));
  of.options['task_id'] = header.id;
  const result = freeze(body, { id, rootId, chord, groupId, groupIndex }, ids);
  firstOf(result).parent = header;
  return result;
}

/** The start of a line of parents. */
function firstOf(of: Promised): Promised {
  let node = of;
  while (node.parent !== undefined) node = node.parent;
  return node;
}

/** A group of tasks. */
export function groupDraft(tasks: readonly Draft[], id?: string): Draft {
  return {
    ...{ task: 'celery.group', args: [], kwargs: { tasks: [...tasks] }, subtask_type: 'group', immutable: false },
    options: id === undefined ? {} : { task_id: id },
  };
}

function chordDraft(header: Draft, body: Draft, rootId: string | undefined): Draft {
  return {
    ...{ task: 'celery.chord', args: header.args, subtask_type: 'chord', immutable: false },
    kwargs: { kwargs: {}, header: [...tasksOf(header)], body },
    options: rootId === undefined ? {} : { root_id: rootId },
  };
}

/** The steps of a chain, the last one first, and what each of them promises. */
export interface Steps {
  readonly tasks: Draft[];
  readonly results: Promised[];
}

/**
 * Turns a chain into steps: chains within it are unrolled, a group with something behind it becomes a chord, and each step
 * gets its id. Changes the tasks that it is given.
 */
export function prepareSteps(
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  of: readonly Draft[],
  place: Place & { readonly linkError?: readonly Signature[] },
  ids: Ids,
): Steps {
  const { rootId } = place;
  const tasks: Draft[] = [];
  const results: Promised[] = [];
  const steps = of.map(unrollGroup);
  let previous: Draft | undefined;
  let previousResult: Promised | undefined;
  let isLast = true;
  for (let popped = steps.pop(); popped !== undefined; popped = steps.pop()) {
    let task = unrollGroup(popped);
    if (task.subtask_type === 'chain') {
      steps.push(...tasksOf(task).map(unrollGroup));
      continue;
    }
    if (isEmptyGroup(task) && (steps.length > 0 || previous !== undefined)) continue;
    if (steps.length === 0) lead(task, args, kwargs);
    if (task.subtask_type === 'group' && previous !== undefined) {
      tasks.pop();
      const bodyResult = results.pop();
      task = chordDraft(task, previous, rootId);
      previous = tasks.at(-1);
      let node = results.at(-1);
      while (node !== undefined && node.parent !== bodyResult) node = node.parent;
      if (node !== undefined) {
        node.parent = undefined;
        previousResult = node;
      }
    }
    const result = freeze(task, isLast ? { ...place, parentId: undefined } : { rootId }, ids);
    if (previous !== undefined && previousResult !== undefined) previousResult.parent ??= result;
    isLast = false;
    if (place.linkError !== undefined) addLinks(task, 'link_error', place.linkError);
    tasks.push(task);
    results.push(result);
    previous = task;
    previousResult = task.subtask_type === 'chord' ? firstOf(result) : result;
  }
  return { tasks, results };
}

/** The first step takes what the chain is called with. */
function lead(task: Draft, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): void {
  if (task.immutable) return;
  task.args = [...args, ...task.args];
  if (task.subtask_type === null) task.kwargs = { ...task.kwargs, ...kwargs };
}
