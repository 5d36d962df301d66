/** What an executor offers, what it needs, and what it tells others. */
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import type { Continuation } from '../canvas/continuation.ts';
import type { Threads } from '../pool/threads.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import type { TaskMessage } from '../protocol/message.ts';
import type { Registry } from '../task/registry.ts';
import type { ResultBackend } from '../results/backend.ts';
import type { Consumer } from '../transport/consumer.ts';
import type { Delivery } from '../transport/exchange.ts';
import type { LeftBehind } from '../pool/leftBehind.ts';
import type { AckMode, Prefetch } from './prefetch.ts';
import type { RateLimits } from './rateLimits.ts';
import type { Request } from './request.ts';
import type { TimeLimits } from './run.ts';

/** Tells what happens to requests, for metrics, events and logs. */
export interface Observer {
  received(request: Request): void;
  started(request: Request): void;
  /** `state` is the state stored, or `REJECTED`, `IGNORED`. `value` is what a task returned. */
  ended(request: Request, state: string, runSeconds: number, error?: unknown, value?: unknown): void;
  /** A message that never became a request, or a request that did not run. `message` if it could be read. */
  dropped(
    why: 'malformed' | 'refused' | 'unknown' | 'revoked' | 'expired',
    task: string | undefined,
    message?: TaskMessage,
  ): void;
}

/** The executor of a worker. */
export interface Executor {
  receive(delivery: Delivery): void;
  /** How many more messages may be held. */
  credit(): number;
  requests(): Iterable<Request>;
  /** Takes no more, and gives back what does not run, in order, to the head of its queues. Gives how many. */
  handBack(): number;
  /** Takes messages again after `handBack`. */
  takeAgain(): void;
  /** Since `handBack`: what still arrives goes straight back. */
  readonly isGivingBack: boolean;
  /** Ends what is meant: what does not run yet is stored as REVOKED at once, what runs only with `terminate`. Gives the ids. */
  revoke(isMeant: (message: TaskMessage) => boolean, terminate: boolean): string[];
  readonly prefetch: Prefetch;
  setPrefetch(prefetch: Prefetch): void;
  readonly rateLimits: RateLimits;
  /** Resolves when nothing runs any more, or `signal` aborts. */
  idle(signal: AbortSignal): Promise<void>;
  /** Gives up what runs: late tasks go back to their queue. Gives those that are lost (acknowledged early). */
  abandon(): Request[];
  resize(slots: number): void;
  /** Settles what has ended. To be called in a turn of its own, after `consumer.wake` was. */
  settle(): void;
  readonly slots: { readonly size: number; readonly running: number; readonly waiting: number };
}

/** What an executor needs. */
export interface ExecutorDeps {
  readonly consumer: () => Consumer;
  readonly registry: Registry;
  readonly backend: ResultBackend;
  readonly keys: BrokerKeys;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer: Observer;
  readonly continuation: Continuation;
  readonly isRevoked: (message: TaskMessage) => boolean;
  readonly leftBehind: LeftBehind<Request>;
  /** Runs the tasks that ask for a thread. */
  readonly threads?: Threads | undefined;
  readonly hostname: string;
  readonly concurrency: number;
  readonly prefetch: Prefetch;
  readonly ackMode: AckMode;
  /** Time limits set while the worker runs, by task; they stand for those of the task's options. */
  readonly timeLimits?: ReadonlyMap<string, TimeLimits>;
}
