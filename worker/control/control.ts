/**
 * A worker's presence: it hears remote control and says what it does. Nothing here is needed to run tasks, and nothing
 * here may hold them up: it has connections of its own, and without them it is silent.
 */
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import type { Config } from '../config.ts';
import type { Executor, Observer } from '../execution/executor.ts';
import type { TimeLimits } from '../execution/run.ts';
import { controlExchange } from '../protocol/control.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import type { TaskMessage } from '../protocol/message.ts';
import type { ResultBackend } from '../results/backend.ts';
import type { Registry } from '../task/registry.ts';
import type { Consumer } from '../transport/consumer.ts';
import { queuesNow, type ControlContext } from './commands/context.ts';
import { queueCommands } from './commands/queues.ts';
import { requestCommands } from './commands/requests.ts';
import { taskCommands } from './commands/tasks.ts';
import { workerCommands } from './commands/worker.ts';
import { createTaskEvents } from './events.ts';
import { createHeart } from './heartbeat.ts';
import { createLamport } from './lamport.ts';
import { createControlLink, type ControlLink } from './link.ts';
import { createPidbox, type Pidbox } from './pidbox.ts';
import { createEventPublisher } from './publish.ts';
import { createRevoked } from './revoked.ts';

/** The presence of a worker. */
export interface Control {
  /** Hears what becomes of tasks. */
  readonly observers: readonly Observer[];
  readonly isRevoked: (message: TaskMessage) => boolean;
  /** Limits set by remote control, by task. */
  readonly timeLimits: ReadonlyMap<string, TimeLimits>;
  /** Aborts when remote control asks the worker to end. */
  readonly shutdown: AbortSignal;
  /** Answers what was asked, says goodbye and ends the connections. */
  stop(): Promise<void>;
}

/** What it needs. */
export interface ControlOptions {
  readonly config: Config;
  readonly version: string;
  readonly executor: () => Executor;
  readonly consumer: () => Consumer;
  readonly backend: ResultBackend;
  readonly registry: Registry;
  readonly keys: BrokerKeys;
  readonly clock: Clock;
  readonly log: Logger;
  /** The most (ms) that connecting or a round trip may take. */
  readonly timeoutMs: number;
}

/** Starts it. */
export function startControl(options: ControlOptions): Control {
  const { config, keys, clock, log, timeoutMs } = options;
  const { hostname, broker } = config;
  const { db } = broker.redis;
  const lamport = createLamport();
  const revoked = createRevoked();
  const timeLimits = new Map<string, TimeLimits>();
  const shutdown = new AbortController();
  const publisher = createEventPublisher({ hostname, keys, db, lamport, clock, link: () => link });
  const events = createTaskEvents(config.events, (event) => publisher.enqueue(event));
  const heart = createHeart({
    ...{ executor: options.executor, clock, ackMode: config.ack, version: options.version, pool: config.pool },
    queues: () => queuesNow(options),
    send: (event) => publisher.send(event),
  });
  const context: ControlContext = {
    ...options,
    ...{ lamport, events, heart, revoked, timeLimits },
    shutdown: () => shutdown.abort(),
  };
  const pidbox: Pidbox = createPidbox({
    ...{ hostname, keys, lamport, clock, log },
    commands: {
      ...requestCommands(context),
      ...workerCommands(context),
      ...taskCommands(context),
      ...queueCommands(context),
    },
    send: (commands) => link.send(commands),
  });
  const link: ControlLink = createControlLink({
    ...{ endpoint: broker, clock, log, timeoutMs },
    channel: keys.fanoutChannel(db, controlExchange),
    onMessage: (raw) => pidbox.receive(raw),
    onOpen() {
      heart.online();
      void publisher.flush();
    },
  });

  return {
    observers: [heart.observer, events.observer],
    isRevoked: (message) => revoked.has(message),
    timeLimits,
    shutdown: shutdown.signal,
    async stop() {
      await pidbox.settled();
      await publisher.flush();
      await heart.stop();
      await link.close();
    },
  };
}
