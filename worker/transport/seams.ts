/** What a consumer offers, and what it needs. */
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import type { Command } from '../../operator/broker/connection.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import type { Delivery } from './exchange.ts';
import type { LinkState } from './link.ts';

/** A consumer of some queues. */
export interface Consumer {
  /** Done with a message. */
  ack(delivery: Delivery): void;
  /** Puts a message back: the tail is served last (as a reject with requeue), the head next (as a restore). */
  requeue(delivery: Delivery, end: 'head' | 'tail'): void;
  /**
   * Sends a message that stands for another one, in one step with acknowledging that; once, even if the call is sent
   * twice. `isAcked` when the other one was acknowledged before.
   */
  replace(delivery: Delivery, list: string, raw: string, isAcked: boolean): void;
  /** Sends a message with the next settlement, and before it; once, even if the call is sent twice. `tag` is its own. */
  push(tag: string, list: string, raw: string): void;
  /** Holds a message no more and does not settle it: when its visibility timeout has passed, some worker gets it again. */
  release(delivery: Delivery): void;
  /** Takes a message that no worker can read out of the way, into the list `muster.malformed.QUEUE`; gives the list's name. */
  bury(delivery: Delivery): string;
  /** Sends a command before the next settlement; sent again until Redis has taken it. */
  send(command: Command): void;
  /** The worker may hold more than before. */
  wake(): void;
  addQueue(queue: string): void;
  cancelQueue(queue: string): void;
  queues(): readonly string[];
  /** Claims nothing any more; `false` goes on. */
  pause(isPaused: boolean): void;
  state(): ConsumerState;
  /** Resolves when everything given so far was taken by Redis, or when `signal` aborts. */
  flushed(signal: AbortSignal): Promise<void>;
  /** Ends the connection; what was not flushed is lost. */
  close(): Promise<void>;
}

/** As its link is; or Redis answers and does not want to: it is loading, a replica, or cannot write. */
export type ConsumerState = LinkState | { readonly kind: 'refused'; readonly why: string };

/** What a consumer needs. */
export interface ConsumerOptions {
  readonly endpoint: BrokerEndpoint;
  readonly keys: BrokerKeys;
  readonly queues: readonly string[];
  /** Unique to this process: under it Redis remembers what was claimed. */
  readonly consumerId: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeoutMs: number;
  readonly visibilityTimeoutSeconds: number;
  /** How many more messages the worker may hold now. */
  readonly credit: () => number;
  /** Called before settlements are gathered, in a turn of its own. */
  readonly beforeFlush?: () => void;
  readonly onDelivery: (delivery: Delivery) => void;
}
