/**
 * Signatures while they are made ready to be sent: copies that may be changed, with the tasks within them in reach. Pure.
 */
import { parseCanvas } from '../protocol/canvasForms.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { resultTuple, type ResultTuple } from '../protocol/result.ts';
import { parseSignature, readSignatures, type Signature } from '../protocol/signature.ts';

/** A signature that may be changed. It is written to a message as it is. */
export interface Draft {
  task: string;
  args: readonly unknown[];
  kwargs: Record<string, unknown>;
  options: Record<string, unknown>;
  subtask_type: string | null;
  immutable: boolean;
  [more: string]: unknown;
}

/** What will be known of a signature that was sent: an id, the members of a group, and what comes before it. */
export interface Promised {
  readonly id: string;
  parent?: Promised | undefined;
  /** Only of a group. */
  readonly members?: readonly Promised[] | undefined;
}

/** What is stored in `children` for it. */
export function toTuple({ id, parent, members }: Promised): ResultTuple {
  const own: readonly [string, ResultTuple | null] = [id, parent === undefined ? null : toTuple(parent)];
  return members === undefined && parent === undefined ? resultTuple(id) : [own, members?.map(toTuple) ?? null];
}

/** A copy of a signature and of the signatures within it. Throws ProtocolError for one that cannot be read. */
export function draft(value: unknown): Draft {
  const parsed = parseSignature(value);
  if (parsed.kind === 'malformed') throw new ProtocolError('invalid', parsed.why);
  const signature = parsed.value;
  const copy: Draft = { ...signature, kwargs: { ...signature.kwargs }, options: { ...signature.options } };
  const form = parseCanvas(signature);
  if (form.kind === 'malformed') throw new ProtocolError('invalid', form.why);
  if (form.value.kind === 'chain' || form.value.kind === 'group') copy.kwargs['tasks'] = form.value.tasks.map(draft);
  if (form.value.kind === 'chord') {
    copy.kwargs['header'] = form.value.header.map(draft);
    copy.kwargs['body'] = draft(form.value.body);
  }
  return copy;
}

/** The tasks of a chain or group, the header of a chord. */
export function tasksOf(of: Draft): Draft[] {
  return of.kwargs[of.subtask_type === 'chord' ? 'header' : 'tasks'] as Draft[];
}

/** Replaces what {@link tasksOf} gives. */
export function setTasks(of: Draft, tasks: readonly Draft[]): void {
  of.kwargs[of.subtask_type === 'chord' ? 'header' : 'tasks'] = tasks;
}

/** The body of a chord. */
export function bodyOf(chord: Draft): Draft {
  return chord.kwargs['body'] as Draft;
}

/** A text among the options. */
export function textOption(
  of: { readonly options: Readonly<Record<string, unknown>> },
  name: string,
): string | undefined {
  return text(of.options[name]);
}

/** A text that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A group of a single task stands for that task. */
export function unrollGroup(of: Draft): Draft {
  if (of.subtask_type !== 'group') return of;
  const [only, ...more] = tasksOf(of);
  return only !== undefined && more.length === 0 ? only : of;
}

/** A group without tasks, which a chain passes over. */
export function isEmptyGroup(of: Draft): boolean {
  return of.subtask_type === 'group' && tasksOf(of).length === 0;
}

/** Adds callbacks or errbacks to an option. A chord's go to its body, a chain's errbacks are shared by all of it. */
export function addLinks(to: Draft, kind: 'link' | 'link_error', links: readonly Signature[]): void {
  if (links.length === 0) return;
  if (to.subtask_type === 'chord') return addLinks(bodyOf(to), kind, links);
  if (to.subtask_type === 'group') {
    const [first] = tasksOf(to);
    if (kind === 'link_error') for (const task of tasksOf(to)) addLinks(task, kind, links);
    else if (first !== undefined)
      addLinks(
        first,
        kind,
        links.map((link) => ({ ...link, immutable: true })),
      );
    return;
  }
  const before = readSignatures(to.options[kind]);
  const known = new Set(before.map((link) => JSON.stringify(link)));
  to.options[kind] = [...before, ...links.filter((link) => !known.has(JSON.stringify(link)))];
}

/** How many parts of a chord a task of its header will return: a chain's last one, a chord's body. (`_chord._descend`.) */
export function countParts(of: Draft): number {
  switch (of.subtask_type) {
    case 'group':
      return tasksOf(of).reduce((sum, task) => sum + countParts(task), 0);
    case 'chain':
      return (
        [...tasksOf(of)]
          .reverse()
          .map(countParts)
          .find((count) => count > 0) ?? 0
      );
    case 'chord':
      return countParts(bodyOf(of));
    default:
      return 1;
  }
}
