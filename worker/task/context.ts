/** What a task is given beside its arguments. */
import type { Signature } from '../protocol/signature.ts';
import type { TaskMessage } from '../protocol/message.ts';

/** A task's view of its own run. */
export interface TaskContext {
  readonly id: string;
  /** The task's name. */
  readonly name: string;
  /** How often it was retried, from 0. */
  readonly retries: number;
  /** The keyword arguments that the producer sent: `send_task(name, args, kwargs)`. */
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** The whole message: root, parent and group ids, headers, priority. */
  readonly request: TaskMessage;
  /** Aborts when the soft time limit has passed, the task is revoked, or the worker must end. Hand it to what you wait for. */
  readonly signal: AbortSignal;
  /**
   * Ends this run and runs the task again later: `throw ctx.retry({ delaySeconds: 5 })`. The delay defaults to the task's
   * options. When it was retried as often as it may be, it fails with `cause` instead.
   */
  retry(options?: { readonly delaySeconds?: number; readonly cause?: unknown }): Error;
  /**
   * Starts a task or canvas (`sig`, `chain`, `group`, `chord`) as a child of this one: it has the same root, this task as its
   * parent, and clients find it among `children`. Gives the id of its result. Nothing is awaited: a task that waits for
   * another one holds a slot. Throws for what cannot be sent.
   */
  send(signature: Signature): string;
  /**
   * Ends this run, and lets another task or canvas give its result: `throw ctx.replace(sig('resize', [url]))`. It takes over
   * this task's id, callbacks, chain and chord.
   */
  replace(signature: Signature): Error;
  /** Stores a state of your own with data that clients can read, such as `updateState('PROGRESS', { percent: 10 })`. */
  updateState(state: string, meta: unknown): void;
}
