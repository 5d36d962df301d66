/**
 * What the main thread and a worker thread say to each other. Values travel as the JSON of messages: copied by
 * `structuredClone`, a date or a decimal of Python would arrive as a plain object.
 */
import type { MessagePort } from 'node:worker_threads';
import { decodeJson } from '../protocol/kombuJson.ts';
import type { PythonException } from '../protocol/failure.ts';

/** What a thread is started with. */
export interface ThreadData {
  /** The modules that export tasks. */
  readonly files: readonly string[];
}

/** A task for a thread. */
export interface ThreadTask {
  /** The message as it came. */
  readonly raw: string;
  /** More than 0; undefined: none. */
  readonly softTimeLimitSeconds: number | undefined;
  /** Where `ctx.updateState` and `ctx.send` are told to the main thread. */
  readonly port: MessagePort;
}

/** What a task in a thread asks of the main thread while it runs. */
export type ThreadWish =
  | { readonly kind: 'state'; readonly state: string; readonly meta: string }
  /** The result of what is started has this id. */
  | { readonly kind: 'start'; readonly id: string; readonly signature: string }
  /** Nothing more comes. (That the port is closed does not arrive: a thread without a task sleeps in one call.) */
  | { readonly kind: 'end' };

/** How it ended. An error does not cross threads whole: its class is told by name. */
export type ThreadOutcome =
  | { readonly kind: 'returned'; readonly value: string }
  | {
      readonly kind: 'threw';
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      readonly python: PythonException | undefined;
      /** The names of its class and of those that this one extends, for `autoretryFor`. */
      readonly classes: readonly string[];
      /** Set for the errors with which a task says how it ends. */
      readonly wish:
        | {
            readonly kind: 'retry';
            readonly delaySeconds: number | undefined;
            readonly cause: ThreadOutcome | undefined;
          }
        | { readonly kind: 'reject'; readonly requeue: boolean }
        | { readonly kind: 'ignore' }
        | { readonly kind: 'replace'; readonly by: string }
        | undefined;
    };

/** A value that the other thread wrote. */
export function readValue(text: string): unknown {
  const decoded = decodeJson(text);
  if (decoded.kind === 'malformed') throw new TypeError(decoded.why);
  return decoded.value;
}
