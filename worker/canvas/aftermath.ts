/**
 * What a failure leaves to be said: the rest of a chain will not run, errbacks are called, an enclosing chord is told. Pure:
 * it is gathered here, and stored and sent in one go. Source: celery/backends/base.py (`mark_as_failure`,
 * `chord_error_from_stack`).
 */
import { describeError, formatTraceback, type Failure } from '../protocol/failure.ts';
import { failureMeta, type ResultMeta } from '../protocol/result.ts';
import { readSignatures, type Signature } from '../protocol/signature.ts';
import { apply, emptyPlan, type Plan, type Sender } from './apply.ts';
import type { ChordError } from './chordEnd.ts';
import { draft, tasksOf, text, textOption, toTuple, type Draft, type Promised } from './draft.ts';
import { freeze, groupDraft } from './freeze.ts';

/** A task as a part of a chord. */
export interface PartOf {
  readonly id: string;
  readonly rootId: string;
  readonly groupId: string | undefined;
  readonly groupIndex?: number | undefined;
  /** The chord's body. */
  readonly chord: Signature | undefined;
}

/** What is to be stored, sent and counted. */
export interface Aftermath {
  readonly metas: ResultMeta[];
  readonly plan: Plan;
  /** Tasks that will not run, of which chords wait. */
  readonly parts: { readonly part: PartOf; readonly meta: ResultMeta }[];
  /** Errbacks that cannot be sent: why, and of which task. */
  readonly problems: { readonly id: string; readonly err: unknown }[];
}

/** Nothing yet. */
export function emptyAftermath(): Aftermath {
  return { metas: [], plan: emptyPlan(), parts: [], problems: [] };
}

/** Adds to an aftermath. */
export interface Reporter {
  /** The tasks of a chain end with the failure of the one before them. */
  failChain(chain: readonly Signature[], failure: Failure, traceback: string, into: Aftermath): void;
  /** Errbacks take the id of the task that failed, and run with it as their parent. Gives what was started. */
  callErrbacks(errbacks: readonly Signature[], id: string, rootId: string, into: Aftermath): readonly Promised[];
  /** The body of a chord will not run: it ends with the chord's error, and so does what was to follow it. */
  failChord(body: Draft, error: ChordError, into: Aftermath): void;
}

/** Builds it. */
export function createReporter(senderOf: (task: { readonly id: string; readonly rootId: string }) => Sender): Reporter {
  const metaOf = (id: string, failure: Failure, traceback: string, of?: Signature): ResultMeta =>
    failureMeta(id, 'FAILURE', failure, {
      traceback,
      dateDoneMs: senderOf({ id, rootId: id }).nowMs,
      ...(of === undefined ? {} : { groupId: textOption(of, 'group_id'), parentId: textOption(of, 'parent_id') }),
    });

  const failChain: Reporter['failChain'] = (chain, failure, traceback, into) => {
    const left = [...chain];
    for (let task = left.shift(); task !== undefined; task = left.shift()) {
      const id = textOption(task, 'task_id');
      if (id !== undefined) {
        const meta = metaOf(id, failure, traceback, task);
        into.metas.push(meta);
        const part = partOf(task, id);
        if (part !== undefined) into.parts.push({ part, meta });
      }
      // A chord ends with its body: that is what later steps and an enclosing chord wait for.
      if (task.subtask_type === 'chord') left.push(...readSignatures(task.kwargs['body']));
    }
  };

  const callErrbacks: Reporter['callErrbacks'] = (errbacks, id, rootId, into) => {
    if (errbacks.length === 0) return [];
    const options = { parent_id: id, root_id: rootId };
    try {
      return [
        apply(groupDraft(errbacks.map(draft)), { args: [id], options }, senderOf({ rootId, id }), into.plan, false),
      ];
    } catch (err) {
      into.problems.push({ id, err });
      return [];
    }
  };

  const failGroup = (body: Draft, error: ChordError, traceback: string, into: Aftermath): void => {
    const { ids } = senderOf({ id: '', rootId: '' });
    const own = readSignatures(body.options['link_error']);
    const group = freeze(body, {}, ids);
    for (const [place, { id }] of (group.members ?? []).entries()) {
      const task = tasksOf(body)[place];
      const errbacks = [...(task === undefined ? [] : readSignatures(task.options['link_error'])), ...own];
      callErrbacks(errbacks, id, id, into);
      into.metas.push(metaOf(id, error.failure, traceback));
    }
    into.metas.push(metaOf(group.id, error.failure, traceback));
    failChain(readSignatures(body.options['chain']), error.failure, traceback, into);
  };

  return {
    failChain,
    callErrbacks,
    failChord(body, error, into) {
      const traceback = formatTraceback(error);
      if (body.subtask_type === 'group') {
        failGroup(body, error, traceback, into);
        return;
      }
      const failure = describeError(error);
      const id = textOption(body, 'task_id') ?? senderOf({ id: '', rootId: '' }).ids.newId();
      const started = callErrbacks(readSignatures(body.options['link_error']), id, id, into);
      const meta = { ...metaOf(id, failure, traceback), children: started.map(toTuple) };
      into.metas.push(meta);
      if (body.subtask_type === 'chord') failChain(readSignatures(body.kwargs['body']), failure, traceback, into);
      const outer = partOf(body, id);
      if (outer !== undefined) into.parts.push({ part: outer, meta });
      failChain(readSignatures(body.options['chain']), failure, traceback, into);
    },
  };
}

/** A signature as a part of an enclosing chord; undefined when it is none. */
function partOf(task: Signature, id: string): PartOf | undefined {
  const [chord] = readSignatures(task.options['chord']);
  const groupId = textOption(task, 'group_id');
  if (chord === undefined || groupId === undefined) return undefined;
  const { group_index: groupIndex } = task.options;
  const part: PartOf = { id, rootId: text(task.options['root_id']) ?? id, groupId, chord };
  return typeof groupIndex === 'number' ? { ...part, groupIndex } : part;
}
