/** What commands work on. */
import type { Clock } from '../../../operator/runtime/clock.ts';
import type { Logger } from '../../../operator/runtime/log.ts';
import type { Config } from '../../config.ts';
import type { Executor } from '../../execution/executor.ts';
import type { TimeLimits } from '../../execution/run.ts';
import type { BrokerKeys } from '../../protocol/keys.ts';
import type { ResultBackend } from '../../results/backend.ts';
import type { Registry } from '../../task/registry.ts';
import type { Consumer } from '../../transport/consumer.ts';
import type { TaskEvents } from '../events.ts';
import type { Heart } from '../heartbeat.ts';
import type { Lamport } from '../lamport.ts';
import type { Revoked } from '../revoked.ts';

/** The worker as remote control sees it. */
export interface ControlContext {
  readonly config: Config;
  readonly version: string;
  readonly executor: () => Executor;
  readonly consumer: () => Consumer;
  readonly backend: ResultBackend;
  readonly registry: Registry;
  readonly keys: BrokerKeys;
  readonly lamport: Lamport;
  readonly events: TaskEvents;
  readonly heart: Heart;
  readonly revoked: Revoked;
  /** By task; they stand for those of the task's options. */
  readonly timeLimits: Map<string, TimeLimits>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends the worker in order. */
  readonly shutdown: () => void;
}

/** The queues that a worker takes messages from now: none while it is drained. */
export function queuesNow({ executor, consumer }: Pick<ControlContext, 'executor' | 'consumer'>): readonly string[] {
  return executor().isGivingBack ? [] : consumer().queues();
}
