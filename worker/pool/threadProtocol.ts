/** What the main thread and a worker thread say to each other. Everything can be cloned by `structuredClone`. */
import type { MessagePort } from 'node:worker_threads';
import type { PythonException } from '../protocol/failure.ts';
import type { TaskMessage } from '../protocol/message.ts';
import type { Signature } from '../protocol/signature.ts';

/** What a thread is started with. */
export interface ThreadData {
  /** The modules that export tasks. */
  readonly files: readonly string[];
}

/** A task for a thread. */
export interface ThreadTask {
  readonly message: TaskMessage;
  readonly softTimeLimitSeconds: number | undefined;
  /** Where `ctx.updateState` and `ctx.send` are told to the main thread. */
  readonly port: MessagePort;
}

/** What a task in a thread asks of the main thread while it runs. */
export type ThreadWish =
  | { readonly kind: 'state'; readonly state: string; readonly meta: unknown }
  /** The result of what is started has this id. */
  | { readonly kind: 'start'; readonly id: string; readonly signature: Signature }
  /** Nothing more comes. (That the port is closed does not arrive: a thread without a task sleeps in one call.) */
  | { readonly kind: 'end' };

/** How it ended. An error does not cross threads whole: its class is told by name. */
export type ThreadOutcome =
  | { readonly kind: 'returned'; readonly value: unknown }
  | {
      readonly kind: 'threw';
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      readonly python: PythonException | undefined;
      /** Set for the errors with which a task says how it ends. */
      readonly wish:
        | { readonly kind: 'retry'; readonly delaySeconds: number | undefined }
        | { readonly kind: 'reject'; readonly requeue: boolean }
        | { readonly kind: 'ignore' }
        | { readonly kind: 'replace'; readonly by: Signature }
        | undefined;
    };
