/**
 * What is sent for a signature: messages, and what Redis has to know of chords before them. Pure: nothing is sent here.
 * Source: celery/canvas.py (`apply_async`, `run`), celery/app/base.py (`send_task`).
 */
import type { Command } from '../../operator/broker/connection.ts';
import { encodeJson } from '../protocol/kombuJson.ts';
import type { ResultKeys } from '../protocol/keys.ts';
import { mergeSignature, readSignatures, type Signature } from '../protocol/signature.ts';
import {
  addLinks,
  bodyOf,
  countParts,
  draft,
  tasksOf,
  text,
  textOption,
  toTuple,
  type Draft,
  type Promised,
} from './draft.ts';
import { freeze, freezeGroup, groupDraft, prepareSteps, type Ids } from './freeze.ts';
import { chordStartScript } from '../transport/lua/chordStart.ts';
import { writeTask, type Routing, type Written } from './write.ts';

/** The task that sends, and how. */
export interface Sender {
  readonly ids: Ids;
  readonly routing: Routing;
  readonly resultKeys: ResultKeys;
  /** How long (s) Redis keeps what it knows of a chord; 0: for ever. */
  readonly keepSeconds: number;
  /** Unix ms. */
  readonly nowMs: number;
  /** Of tasks that have no other; undefined for a client: each task is the root of what follows it. */
  readonly rootId: string | undefined;
  readonly parentId: string | undefined;
}

/** What is merged into a signature when it is sent. */
export interface Call {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** What is to be sent: first the commands, then the messages, in order. */
export interface Plan {
  readonly commands: Command[];
  readonly messages: Written[];
  /** What the sending task has started, for `children`. */
  readonly children: Promised[];
}

/** A plan of nothing. */
export function emptyPlan(): Plan {
  return { commands: [], messages: [], children: [] };
}

/** Adds a signature to a plan. Throws ProtocolError for one that cannot be sent. */
export function apply(signature: Signature, call: Call, sender: Sender, plan: Plan, isChild = true): Promised {
  return applyDraft(draft(signature), call, sender, plan, isChild);
}

function applyDraft(of: Draft, call: Call, sender: Sender, plan: Plan, isChild: boolean): Promised {
  const options = withoutNulls(call.options);
  switch (of.subtask_type) {
    case 'chain':
      return applyChain(of, { ...call, options }, sender, plan, isChild);
    case 'group':
      return applyGroup(of, { ...call, options }, sender, plan, isChild);
    case 'chord':
      return applyChord(of, { ...call, options }, sender, plan, isChild);
    default: {
      const { args, kwargs, options: merged } = mergeSignature(of, call);
      const written = writeTask(of.task, args, kwargs, merged, sender);
      plan.messages.push(written);
      const promised: Promised = { id: written.id };
      if (isChild) plan.children.push(promised);
      return promised;
    }
  }
}

function withoutNulls(options: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null));
}

/** Options that a chain uses up; the others go on to its first task. */
const ofChain = ['chord', 'group_id', 'group_index', 'link', 'link_error', 'parent_id', 'root_id', 'task_id'];

function applyChain(of: Draft, call: Call, sender: Sender, plan: Plan, isChild: boolean): Promised {
  const args = of.immutable ? of.args : [...(call.args ?? []), ...of.args];
  const options = { ...of.options, ...call.options };
  const chord = options['chord'];
  const { tasks, results } = prepareSteps(
    args,
    call.kwargs ?? {},
    tasksOf(of),
    {
      rootId: text(options['root_id']),
      id: text(options['task_id']),
      groupId: text(options['group_id']),
      groupIndex: whole(options['group_index']),
      ...(chord === undefined || chord === null ? {} : { chord: draft(chord) }),
      linkError: readSignatures(options['link_error']),
    },
    sender.ids,
  );
  const [last] = tasks;
  const [lastResult] = results;
  const first = tasks.pop();
  if (first === undefined || last === undefined || lastResult === undefined) return { id: sender.ids.newId() };
  addLinks(last, 'link', readSignatures(options['link']));
  const rest: Record<string, unknown> = Object.fromEntries(
    Object.entries(options).filter(([name]) => !ofChain.includes(name)),
  );
  rest['chain'] = [...(Array.isArray(options['chain']) ? (options['chain'] as unknown[]) : []), ...tasks];
  const sent = applyDraft(first, { options: rest }, sender, plan, isChild);
  return tasks.length === 0 ? sent : lastResult;
}

function applyGroup(of: Draft, call: Call, sender: Sender, plan: Plan, isChild: boolean, saved = ''): Promised {
  const own = of.options;
  const given = Object.entries(call.options ?? {}).filter(([name]) => name !== 'group_id' || !('group_id' in own));
  const { task_id: taskId, ...options }: Record<string, unknown> = { ...own, ...Object.fromEntries(given) };
  const groupId = text(taskId) ?? sender.ids.newId();
  options['group_id'] = groupId;
  const rootId = text(options['root_id']);
  const chord = options['chord'];
  delete options['chord'];
  delete options['group_index'];
  const members: Promised[] = [];
  const tasks = flatten(tasksOf(of));
  const size = tasks.reduce((sum, [task]) => sum + countParts(task), 0);
  let isCounted = false;
  for (const [task, groupIndex] of tasks) {
    members.push(freeze(task, { groupId, rootId, groupIndex }, sender.ids));
    const body = chord ?? task.options['chord'];
    if (body !== undefined && body !== null && !isCounted) {
      isCounted = true;
      plan.commands.push(chordStart(groupId, size, saved, sender));
    }
    applyDraft(task, { ...call, options: { ...options, chord: body } }, sender, plan, false);
  }
  const [only, ...more] = members;
  const promised: Promised = only?.members !== undefined && more.length === 0 ? only : { id: groupId, members };
  if (isChild) plan.children.push(promised);
  return promised;
}

/** Groups within groups: each task with its place in its own group. */
function flatten(tasks: readonly Draft[]): (readonly [Draft, number])[] {
  return tasks.flatMap((task, place): (readonly [Draft, number])[] => {
    if (task.subtask_type === 'group') return flatten(tasksOf(task));
    return task.subtask_type === 'chain' && tasksOf(task).length === 0 ? [] : [[task, place]];
  });
}

function chordStart(groupId: string, size: number, saved: string, { resultKeys, keepSeconds }: Sender): Command {
  const keys = [resultKeys.chordClaim(groupId), resultKeys.chordSize(groupId), resultKeys.group(groupId)];
  return ['eval', chordStartScript, keys.length, ...keys, size, keepSeconds, saved];
}

function applyChord(of: Draft, call: Call, sender: Sender, plan: Plan, isChild: boolean): Promised {
  const args = of.immutable ? of.args : [...(call.args ?? []), ...of.args];
  const given: Record<string, unknown> = { ...of.options, ...call.options };
  const { link, link_error: linkError, countdown, eta, task_id: chordId, ...options } = given;
  const groupId = textOption(of, 'task_id') ?? sender.ids.newId();
  const header = groupDraft(tasksOf(of), groupId);
  const body = bodyOf(of);
  addLinks(body, 'link', readSignatures(link));
  addLinks(body, 'link_error', readSignatures(linkError));
  // The part that returns last is the body's parent.
  const { parent_id: _parent, ...bodyOptions } = options;
  const { options: merged } = mergeSignature(body, { options: bodyOptions });
  body.options = { ...merged };
  const rootId = textOption(body, 'root_id');
  const id = text(call.options?.['task_id']) ?? (chordId === groupId ? undefined : text(chordId));
  const bodyResult = freeze(body, { id: id ?? sender.ids.newId(), groupId, rootId }, sender.ids);
  const frozen = freezeGroup(header, { groupId, chord: body, rootId }, sender.ids);
  if (tasksOf(header).length === 0) {
    applyDraft(body, { args: [[]] }, sender, plan, isChild);
    return bodyResult;
  }
  let saved = '';
  if (frozen.members?.some((member) => member.members !== undefined) === true) {
    // The body gets lists within its list: whoever sends it finds their form there.
    saved = encodeJson({ result: toTuple(frozen) });
  }
  const { chain: _chain, chord: _chord, group_id: _group, group_index: _index, ...headerOptions } = options;
  const kwargs = { ...(of.kwargs['kwargs'] as Record<string, unknown> | undefined), ...call.kwargs };
  const headerResult = applyGroup(
    header,
    { args, kwargs, options: { ...headerOptions, countdown, eta, task_id: groupId } },
    sender,
    plan,
    isChild,
    saved,
  );
  bodyResult.parent = headerResult;
  return bodyResult;
}

function whole(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) ? value : undefined;
}
