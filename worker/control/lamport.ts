/** The logical clock of a worker, by which events and replies of many workers can be put in order. */
import { clockAdjust, clockForward } from '../protocol/event.ts';

/** A Lamport clock. */
export interface Lamport {
  readonly value: number;
  /** Before something is sent: the clock to send with it. */
  forward(): number;
  /** After something was received with a clock; anything but a number counts as none. */
  adjust(received: unknown): void;
}

/** A clock that starts at 0. */
export function createLamport(): Lamport {
  let value = 0;
  return {
    get value() {
      return value;
    },
    forward: () => (value = clockForward(value)),
    adjust: (received) => void (value = clockAdjust(value, received)),
  };
}
