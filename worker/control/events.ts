/** The events of tasks, for Flower and exporters. Off, they cost one comparison. Source: celery/worker/request.py. */
import type { Observer } from '../execution/executor.ts';
import type { Request } from '../execution/request.ts';
import {
  taskFailed,
  taskReceived,
  taskRejected,
  taskRetried,
  taskRevoked,
  taskStarted,
  taskSucceeded,
  type EventBody,
} from '../protocol/event.ts';
import { describeError, formatTraceback } from '../protocol/failure.ts';
import { reprArgs, reprValue } from '../protocol/pythonRepr.ts';
import { NotRegistered, Reject, Retry } from '../task/errors.ts';

/** The events of tasks. */
export interface TaskEvents {
  readonly observer: Observer;
  readonly isOn: boolean;
  /** Switches them; false when they were so already. */
  switch(isOn: boolean): boolean;
}

/** Celery terminates tasks with this signal unless another is named; readers expect a signal in the event. */
const terminationSignal = '15';

/** Builds them. @param enqueue sends an event soon */
export function createTaskEvents(initiallyOn: boolean, enqueue: (event: EventBody) => void): TaskEvents {
  let isOn = initiallyOn;
  return {
    observer: {
      received: ({ message }) => {
        if (isOn) enqueue(taskReceived(message));
      },
      started: ({ message }) => {
        if (isOn) enqueue(taskStarted(message.id));
      },
      ended(request, state, runSeconds, error, value) {
        const event = isOn ? endOf(request, state, runSeconds, error, value) : undefined;
        if (event !== undefined) enqueue(event);
      },
      dropped(why, task, message) {
        if (!isOn || message === undefined) return;
        if (why === 'unknown') {
          const error = new NotRegistered(task ?? '');
          enqueue(taskFailed(message.id, reprError(error), formatTraceback(error)));
        } else if (why === 'revoked' || why === 'expired') {
          enqueue(taskRevoked(message.id, { terminated: false, signum: null, expired: why === 'expired' }));
        }
      },
    },
    get isOn() {
      return isOn;
    },
    switch(next) {
      const isNews = isOn !== next;
      isOn = next;
      return isNews;
    },
  };
}

function endOf(
  { message: { id } }: Request,
  state: string,
  runSeconds: number,
  error: unknown,
  value: unknown,
): EventBody | undefined {
  switch (state) {
    case 'SUCCESS':
      return taskSucceeded(id, reprValue(value ?? null), runSeconds);
    case 'FAILURE':
      return taskFailed(id, reprError(error), formatTraceback(error));
    case 'RETRY': {
      const cause = error instanceof Retry && error.cause !== undefined ? error.cause : error;
      return taskRetried(id, reprError(cause), formatTraceback(cause));
    }
    case 'REVOKED':
      return taskRevoked(id, { terminated: true, signum: terminationSignal, expired: false });
    case 'REJECTED':
      return taskRejected(id, error instanceof Reject && error.requeue);
    default:
      return undefined;
  }
}

/** An error as Python shows it: `ValueError('bad', 7)`. */
function reprError(error: unknown): string {
  const { exc_type: type, exc_message: args } = describeError(error);
  return args.length === 1 ? `${type}(${reprValue(args[0])})` : `${type}${reprArgs(args)}`;
}
