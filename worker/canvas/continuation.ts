/**
 * Starts what follows a task: callbacks and the rest of its chain, errbacks, the body of the chord that it is a part of; and
 * what a task starts itself. Source: celery/app/trace.py, celery/backends/base.py, celery/app/task.py (`replace`).
 *
 *   SUCCESS ─► callbacks, next of the chain ─► stored ─► part of a chord counted ─► acknowledged
 *   FAILURE ─► stored ─► part of a chord counted ─► the rest of the chain stored as FAILURE ─► errbacks ─► acknowledged
 *
 * Messages travel in the round trip of the acknowledgement or before it: none is lost when the worker dies between.
 */
import type { Command } from '../../operator/broker/connection.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { describeError, formatTraceback } from '../protocol/failure.ts';
import { encodeJson } from '../protocol/kombuJson.ts';
import type { ResultKeys } from '../protocol/keys.ts';
import type { TaskMessage } from '../protocol/message.ts';
import type { ResultMeta } from '../protocol/result.ts';
import type { Signature } from '../protocol/signature.ts';
import { storeCommand } from '../results/backend.ts';
import type { Chords } from '../results/chord.ts';
import { createReporter, emptyAftermath } from './aftermath.ts';
import { apply, emptyPlan, type Plan, type Sender } from './apply.ts';
import { createChordCount } from './chordCount.ts';
import { draft, toTuple, type Promised } from './draft.ts';
import { groupDraft, type Ids } from './freeze.ts';
import { replacement } from './replace.ts';
import type { Routing, Written } from './write.ts';

/** Starts what follows a task. Absent parts of a message cost nothing: it is asked only when there is something. */
export interface Continuation {
  succeeded(message: TaskMessage, value: unknown): Promise<ResultMeta['children']> | undefined;
  /** After FAILURE: the rest of its chain, and errbacks. */
  failed(message: TaskMessage, error: unknown): Promise<void> | undefined;
  /**
   * Stores the end of a part of a chord, unless its result is ignored, and counts it; undefined for a task that is no part.
   * Throws ProtocolError for a result that JSON cannot hold.
   */
  ended(message: TaskMessage, meta: ResultMeta, isStored: boolean): Promise<void> | undefined;
  /** Sends what a task is replaced with. Throws ProtocolError for what cannot be sent. */
  replaced(message: TaskMessage, by: Signature): Promise<void> | undefined;
  /** Starts a task or canvas from within a task: its child. Gives the id of its result, which is `id` if that is given. */
  start(message: TaskMessage, signature: Signature, id?: string): string;
}

/** What starting tasks needs. */
export interface CanvasDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly ids: Ids;
  readonly routing: Routing;
  readonly resultKeys: ResultKeys;
  readonly keepSeconds: number;
  /** Absent: there are no results, so there can be no chords. */
  readonly results:
    | {
        readonly chords: Chords;
        /** Runs a command of the result backend; undefined when it travels before the next acknowledgement. */
        send(command: Command): Promise<void> | undefined;
      }
    | undefined;
  /** Pushes a message with the next acknowledgement, once. */
  push(message: Written): void;
}

/** What a running task has started. */
interface Trail {
  readonly children: Promised[];
  sent: Promise<unknown> | undefined;
}

/** Builds it. */
export function createCanvas(deps: CanvasDeps): Continuation {
  const { clock, log, ids, routing, resultKeys, keepSeconds, results } = deps;
  const trails = new WeakMap<TaskMessage, Trail>();
  const senderOf = ({ rootId, id }: { readonly rootId: string; readonly id: string }): Sender => ({
    ...{ ids, routing, resultKeys, keepSeconds, nowMs: clock.now(), rootId, parentId: id },
  });
  const stored = (meta: ResultMeta): Command[] =>
    results === undefined ? [] : [storeCommand(resultKeys, meta, keepSeconds)];
  const reporter = createReporter(senderOf);
  const count =
    results === undefined ? undefined : createChordCount({ chords: results.chords, log, reporter, senderOf, stored });

  /** First the commands: a part of a chord must not return before the chord's size is known. */
  const carryOut = ({ commands, messages }: Plan): Promise<void> | undefined => {
    const push = (): void => messages.forEach((message) => deps.push(message));
    const waits = commands.map((command) => results?.send(command)).filter((wait) => wait !== undefined);
    if (waits.length > 0) return Promise.all(waits).then(push);
    push();
    return undefined;
  };
  const check = ({ commands }: Plan): void => {
    if (commands.length > 0 && results === undefined) {
      throw new ProtocolError('invalid', 'a chord needs a result backend, and this worker has none');
    }
  };

  const follow = (message: TaskMessage, value: unknown, plan: Plan): void => {
    const { callbacks, chain } = message.embed;
    const sender = senderOf(message);
    const args = [value === undefined ? null : value];
    const options = { parent_id: sender.parentId, root_id: sender.rootId };
    const [only, ...more] = callbacks;
    if (only !== undefined && more.length === 0) apply(only, { args, options }, sender, plan);
    else {
      // Groups for themselves: within another group their children would be listed twice.
      const isGroup = ({ subtask_type: type }: Signature): boolean => type === 'group';
      for (const group of callbacks.filter(isGroup)) apply(group, { args, options }, sender, plan);
      const others = callbacks.filter((each) => !isGroup(each));
      if (others.length > 0) apply(groupDraft(others.map(draft)), { args, options }, sender, plan);
    }
    const next = chain.at(-1);
    if (next !== undefined) apply(next, { args, options: { ...options, chain: chain.slice(0, -1) } }, sender, plan);
    check(plan);
  };

  return {
    succeeded(message, value) {
      const { callbacks, chain } = message.embed;
      const trail = trails.get(message);
      if (callbacks.length + chain.length === 0) {
        return trail === undefined ? undefined : Promise.resolve(trail.sent).then(() => trail.children.map(toTuple));
      }
      const plan = emptyPlan();
      try {
        follow(message, value, plan);
      } catch (error) {
        return Promise.reject(error instanceof Error ? error : new Error(String(error)));
      }
      const children = [...(trail?.children ?? []), ...plan.children].map(toTuple);
      return Promise.all([trail?.sent, carryOut(plan)]).then(() => children);
    },
    failed(message, error) {
      const { errbacks, chain } = message.embed;
      const trail = trails.get(message);
      if (errbacks.length + chain.length === 0) return trail?.sent?.then(() => undefined);
      const into = emptyAftermath();
      reporter.failChain(chain, describeError(error), formatTraceback(error), into);
      reporter.callErrbacks(errbacks, message.id, message.rootId, into);
      for (const { id, err } of into.problems) log.error('the error callbacks of a task cannot be sent', { id, err });
      const waits = into.metas.flatMap(stored).map((command) => results?.send(command));
      const counted = async (): Promise<void> => {
        for (const { part, meta } of into.parts) await count?.(part, [], meta);
      };
      return Promise.all([trail?.sent, ...waits, carryOut(into.plan), counted()]).then(() => undefined);
    },
    ended(message, meta, isStored) {
      const { chord } = message.embed;
      if (chord === undefined || message.groupId === undefined || count === undefined) return undefined;
      // A result that JSON cannot hold throws here, before anything is sent.
      const before = isStored ? stored(meta) : [];
      encodeJson(meta.result, 'the result');
      const { id, rootId, groupId, groupIndex } = message;
      return count({ id, rootId, groupId, groupIndex, chord }, before, meta);
    },
    start(message, signature, id) {
      const plan = emptyPlan();
      const promised = apply(signature, { options: { task_id: id } }, senderOf(message), plan);
      check(plan);
      const sent = carryOut(plan);
      const trail = trails.get(message) ?? { children: [], sent: undefined };
      trails.set(message, trail);
      trail.children.push(...plan.children);
      if (sent !== undefined) trail.sent = Promise.all([trail.sent, sent]);
      return promised.id;
    },
    replaced(message, by) {
      const plan = emptyPlan();
      apply(replacement(message, by, ids), {}, senderOf(message), plan, false);
      check(plan);
      const sent = carryOut(plan);
      const { sent: before } = trails.get(message) ?? {};
      return before === undefined ? sent : Promise.all([before, sent]).then(() => undefined);
    },
  };
}
