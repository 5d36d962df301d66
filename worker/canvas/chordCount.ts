/** Counts the parts of chords; the worker that counts the last one sends the body, or says that it failed. */
import type { Command } from '../../operator/broker/connection.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import { encodeJson } from '../protocol/kombuJson.ts';
import { spellAsPython } from '../protocol/pythonJson.ts';
import type { ResultMeta } from '../protocol/result.ts';
import type { ChordEnd, Chords } from '../results/chord.ts';
import { emptyAftermath, type Aftermath, type PartOf, type Reporter } from './aftermath.ts';
import { apply, type Sender } from './apply.ts';
import { ChordError, joinGroup, joinParts, leavesOf, readSavedGroup } from './chordEnd.ts';
import { draft } from './draft.ts';

/** What counting needs. */
export interface ChordCountDeps {
  readonly chords: Chords;
  readonly log: Logger;
  readonly reporter: Reporter;
  readonly senderOf: (task: PartOf) => Sender;
  /** The commands that store a result; none when results are not stored. */
  readonly stored: (meta: ResultMeta) => readonly Command[];
}

/** Runs `before`, counts a part that has ended, and does what follows when it was the last one. */
export type ChordCount = (part: PartOf, before: readonly Command[], meta: ResultMeta) => Promise<void>;

/** Builds it. */
export function createChordCount({ chords, log, reporter, senderOf, stored }: ChordCountDeps): ChordCount {
  const count: ChordCount = async (part, before, meta) => {
    const { groupId, id: taskId, groupIndex, chord } = part;
    if (chord === undefined || groupId === undefined) return;
    // Celery before 5.7 knows a part that ran twice only by its text.
    const encoded = spellAsPython(encodeJson([1, taskId, meta.status, meta.result]));
    const end = await chords.returned(before, { groupId, taskId, groupIndex, encoded });
    if (end === undefined) return;
    const values = await valuesOf(end).catch((error: unknown) => toChordError(error));
    const sent = values instanceof ChordError ? values : attempt(part, chord, values);
    if (!(sent instanceof ChordError)) return finish(end, sent);
    log.error('a chord failed', { groupId, why: sent.message });
    const failed = emptyAftermath();
    reporter.failChord(draft(chord), sent, failed);
    await finish(end, failed);
  };

  const attempt = (part: PartOf, chord: NonNullable<PartOf['chord']>, values: unknown): Aftermath | ChordError => {
    const into = emptyAftermath();
    try {
      apply(chord, { args: [values] }, senderOf(part), into.plan, false);
      return into;
    } catch (error) {
      return toChordError(error);
    }
  };

  const valuesOf = async ({ values, savedGroup }: ChordEnd): Promise<unknown> => {
    const tuple = savedGroup === undefined ? undefined : readSavedGroup(savedGroup);
    if (tuple === undefined) return joinParts(values);
    const leaves = leavesOf(tuple);
    const metas = await chords.read(leaves);
    return joinGroup(tuple, new Map(leaves.map((id, place) => [id, metas[place]])));
  };

  const finish = async (end: ChordEnd, { metas, plan, parts, problems }: Aftermath): Promise<void> => {
    for (const { id, err } of problems) log.error('the error callbacks of a task cannot be sent', { id, err });
    await chords.finish(end, [...metas.flatMap(stored), ...plan.commands], plan.messages);
    for (const { part, meta } of parts) await count(part, [], meta);
  };

  return count;
}

function toChordError(error: unknown): ChordError {
  if (error instanceof ChordError) return error;
  return new ChordError(`Callback error: ${error instanceof Error ? error.message : String(error)}`);
}
