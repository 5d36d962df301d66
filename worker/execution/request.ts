/** One message on its way through the worker. */
import type { Timer } from '../../operator/runtime/clock.ts';
import type { Seated } from '../../operator/runtime/roster.ts';
import type { TaskMessage } from '../protocol/message.ts';
import type { Task } from '../task/define.ts';
import type { Delivery } from '../transport/exchange.ts';

/** Where a request is: waiting for its time, for a slot, running, or over. */
export type RequestPhase = 'scheduled' | 'waiting' | 'running' | 'done';

/** A message and what became of it. */
export interface Request extends Seated {
  readonly delivery: Delivery;
  readonly message: TaskMessage;
  readonly task: Task;
  phase: RequestPhase;
  /** Redis does not hold the message any more. */
  isAcked: boolean;
  /** When the message came, and when the task began (Unix ms). */
  readonly receivedAtMs: number;
  startedAtMs: number | undefined;
  /** Aborts `ctx.signal`; made when somebody asks for the signal. */
  abort: AbortController | undefined;
  /** Why it was given up while it ran: its outcome is decided, whatever the function does. */
  givenUp: Error | undefined;
  /** Ends its run now with an error; set while it runs. */
  giveUp: ((error: Error) => void) | undefined;
  /** A promise that it made, that was rejected, and that nobody waits for. */
  leftBehind: { readonly promise: object; readonly error: unknown } | undefined;
  /** What is stored as its failure. */
  failedWith: unknown;
  /** Timers of this request: its time, its limits. Most have none. */
  timers: Set<Timer> | undefined;
}

/** Starts to follow a message. */
export function newRequest(delivery: Delivery, message: TaskMessage, task: Task, nowMs: number): Request {
  // Written out: this is made for every message, and spreading costs as much as reading the message.
  return {
    delivery,
    message,
    task,
    phase: 'waiting',
    isAcked: false,
    receivedAtMs: nowMs,
    startedAtMs: undefined,
    abort: undefined,
    givenUp: undefined,
    giveUp: undefined,
    leftBehind: undefined,
    failedWith: undefined,
    timers: undefined,
    seat: undefined,
  };
}

/** Remembers a timer of the request. */
export function addTimer(request: Request, timer: Timer): void {
  request.timers ??= new Set();
  request.timers.add(timer);
}

/** Calls all timers off. */
export function cancelTimers(request: Request): void {
  for (const timer of request.timers ?? []) timer.cancel();
  request.timers = undefined;
}
