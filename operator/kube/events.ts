/**
 * Writes Kubernetes events: what `kubectl describe` shows a person. An event is never worth an error: recording does
 * not throw, does not wait, and gives up when the API server does not take it.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { KubeClient } from './client.ts';
import { createEventFilter, type EventLimits } from './eventDedupe.ts';
import type { KubeMetrics } from './metrics.ts';
import { microTime } from './time.ts';
import { apiVersionOf, resources, type RawEvent, type Resource } from './types.ts';

/** What an event is about. */
export interface EventTarget {
  readonly resource: Resource;
  /** Absent for a cluster-scoped object. */
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid?: string | undefined;
}

/** What happened. */
export interface EventMessage {
  readonly type: 'Normal' | 'Warning';
  /** PascalCase, for machines: at most 128 bytes. */
  readonly reason: string;
  /** What was done or tried, PascalCase; `reason` when absent. */
  readonly action?: string;
  /** A sentence for people; what exceeds 1024 bytes is cut. */
  readonly note: string;
}

/** Records events. */
export interface EventRecorder {
  /** Sends an event in the background, unless it was sent within two minutes (`Scaled`: always, within the burst). Never throws. */
  record(target: EventTarget, message: EventMessage): void;
  /** Resolves when nothing is waiting or being sent. */
  idle(): Promise<void>;
}

/** What a recorder is built from. */
export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: KubeMetrics;
  /** Who reports, a qualified name: `muster.dev/operator`. */
  readonly component: string;
  /** Which process of it: the pod's name. */
  readonly instance: string;
  readonly limits?: EventLimits;
}

/** The API server refuses longer notes. */
const maxNoteBytes = 1024;
/** Events that may wait; more are dropped, since by then the API server has other troubles. */
const maxWaiting = 1000;
/** Sent at once: a burst of a thousand pools must not take the connections that scaling needs. */
const maxSending = 4;

/** Builds a recorder. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, clock, log, metrics } = options;
  const filter = createEventFilter(clock, options.limits);
  const waiting: RawEvent[] = [];
  const idlers = new Set<() => void>();
  let sending = 0;
  for (const why of ['refused', 'limited', 'full']) metrics.eventsDropped.inc({ why }, 0);

  const send = async (event: RawEvent): Promise<void> => {
    try {
      await client.create(resources.events, event.metadata.namespace, event, { fieldManager: 'muster-events' });
    } catch (err) {
      // A namespace that is being deleted, or an API server that is away: the event is lost, the work goes on.
      metrics.eventsDropped.inc({ why: 'refused' });
      log.debug('event could not be written', { err, reason: event.reason });
    }
  };

  const pump = (): void => {
    while (sending < maxSending) {
      const next = waiting.shift();
      if (next === undefined) break;
      sending += 1;
      void send(next).then(() => {
        sending -= 1;
        pump();
      });
    }
    if (sending === 0) for (const wake of idlers) wake();
  };

  return {
    record: (target, message) => {
      const objectKey = `${target.resource.kind}/${target.namespace ?? ''}/${target.name}/${target.uid ?? ''}`;
      const verdict = filter.judge(objectKey, `${message.type}/${message.reason}/${message.note}`);
      if (verdict !== 'send') {
        if (verdict === 'limited') metrics.eventsDropped.inc({ why: 'limited' });
        return;
      }
      if (waiting.length >= maxWaiting) {
        metrics.eventsDropped.inc({ why: 'full' });
        return;
      }
      waiting.push(buildEvent(target, message, options, clock.now()));
      pump();
    },
    idle: () =>
      new Promise((resolve) => {
        const wake = (): void => {
          idlers.delete(wake);
          resolve();
        };
        idlers.add(wake);
        pump();
      }),
  };
}

/** Builds the Event object. Exported for its tests. */
export function buildEvent(
  target: EventTarget,
  message: EventMessage,
  reporter: { readonly component: string; readonly instance: string },
  nowMs: number,
): RawEvent {
  const namespace = target.namespace ?? 'default'; // Where Kubernetes keeps the events of cluster-scoped objects.
  const { resource, name, uid } = target;
  return {
    metadata: { name: `${name.slice(0, 230)}.${randomBytes(8).toString('hex')}`, namespace },
    eventTime: microTime(nowMs),
    reportingController: reporter.component,
    reportingInstance: reporter.instance.slice(0, 128),
    type: message.type,
    reason: message.reason,
    action: message.action ?? message.reason,
    note: truncateUtf8(message.note, maxNoteBytes),
    regarding: {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      name,
      ...(target.namespace === undefined ? {} : { namespace: target.namespace }),
      ...(uid === undefined ? {} : { uid }),
    },
  };
}

/** Cuts a text to so many bytes, at a character, with an ellipsis when anything was cut. */
export function truncateUtf8(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes - 3; // The ellipsis takes three bytes.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1; // Not in the middle of a character.
  return `${bytes.subarray(0, end).toString('utf8')}…`;
}
