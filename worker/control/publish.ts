/**
 * Events on their way out: those of the worker one by one, those of tasks in batches, and none when nobody wants them.
 * Source: celery/events/dispatcher.py, celery/worker/consumer/events.py.
 */
import { randomUUID } from 'node:crypto';
import type { Command } from '../../operator/broker/connection.ts';
import type { Clock, Timer } from '../../operator/runtime/clock.ts';
import {
  buildEvent,
  buildEventBatch,
  buildEventMessage,
  eventBatchLimit,
  eventExchange,
  type CeleryEvent,
  type EventBody,
  type EventMessage,
} from '../protocol/event.ts';
import type { BrokerKeys } from '../protocol/keys.ts';
import type { ControlLink } from './link.ts';
import type { Lamport } from './lamport.ts';

/** Sends events. */
export interface EventPublisher {
  /** An event of the worker, at once; resolves when Redis has it or cannot be reached. */
  send(event: EventBody): Promise<void>;
  /** An event of a task, soon. */
  enqueue(event: EventBody): void;
  /** Sends what waits now. */
  flush(): Promise<void>;
}

/** What the publisher needs. */
export interface EventPublisherDeps {
  readonly hostname: string;
  readonly keys: BrokerKeys;
  readonly db: number;
  readonly lamport: Lamport;
  readonly clock: Clock;
  readonly link: () => ControlLink;
}

/** How long (ms) an event of a task waits for others to travel with. */
const gatherMs = 20;
/** Without a connection the newest so many are kept, to be sent by the next one. */
const mostKept = 1_000;

/** Builds the publisher. */
export function createEventPublisher(deps: EventPublisherDeps): EventPublisher {
  const { hostname, keys, lamport, clock } = deps;
  let waiting: CeleryEvent[] = [];
  let timer: Timer | undefined;

  const stamped = (body: EventBody): CeleryEvent => {
    const timestampMs = clock.now();
    // As Python: whole hours west of UTC, rounded down.
    const utcOffsetHours = Math.floor(new Date(timestampMs).getTimezoneOffset() / 60);
    return buildEvent(body, { hostname, pid: process.pid, utcOffsetHours, clock: lamport.forward(), timestampMs });
  };
  const publish = ({ routingKey, raw }: EventMessage): Command => [
    'publish',
    keys.fanoutChannel(deps.db, eventExchange, routingKey),
    raw,
  ];
  const flush = async (): Promise<void> => {
    timer?.cancel();
    timer = undefined;
    if (waiting.length === 0) return;
    if (!deps.link().isOpen()) {
      waiting = waiting.slice(-mostKept);
      return;
    }
    const events = waiting;
    waiting = [];
    const batches: Command[] = [];
    for (let at = 0; at < events.length; at += eventBatchLimit) {
      batches.push(publish(buildEventBatch(events.slice(at, at + eventBatchLimit), hostname, randomUUID())));
    }
    await deps.link().send(batches);
  };

  return {
    async send(body) {
      if (deps.link().isOpen())
        await deps.link().send([publish(buildEventMessage(stamped(body), hostname, randomUUID()))]);
    },
    enqueue(body) {
      waiting.push(stamped(body));
      if (waiting.length === eventBatchLimit || waiting.length > 2 * mostKept) void flush();
      else timer ??= clock.setTimer(gatherMs, () => void flush());
    },
    flush,
  };
}
