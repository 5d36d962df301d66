/**
 * Task slots of one process: at most so many run at a time, the others wait in the order in which they came. It knows
 * nothing of messages; waiting items can be taken out again, to be handed back.
 */

/** Slots, and who waits for one. */
export interface Slots<T> {
  /** Starts it now, or when a slot is free. */
  add(item: T): void;
  /** A slot became free. */
  release(): void;
  /** Takes a waiting item out; false when it does not wait. */
  remove(item: T): boolean;
  /** Takes out everything that waits, in order. */
  drain(): T[];
  /** Changes the number of slots; running items go on. */
  resize(size: number): void;
  readonly size: number;
  readonly running: number;
  readonly waiting: number;
}

/**
 * Builds the slots.
 * @param start begins an item; whoever runs it calls `release` once at its end
 */
export function createSlots<T>(initialSize: number, start: (item: T) => void): Slots<T> {
  let size = initialSize;
  let running = 0;
  let queue: T[] = [];
  /** Items before this place have started: shifting a long array for each would be slow. */
  let head = 0;

  const fill = (): void => {
    while (running < size && head < queue.length) {
      const item = queue[head] as T;
      head += 1;
      running += 1;
      start(item);
    }
    if (head > 1024 || head === queue.length) {
      queue = queue.slice(head);
      head = 0;
    }
  };

  return {
    add(item) {
      if (running < size && head === queue.length) {
        running += 1;
        start(item);
        return;
      }
      queue.push(item);
      fill();
    },
    release() {
      running -= 1;
      fill();
    },
    remove(item) {
      const place = queue.indexOf(item, head);
      if (place < 0) return false;
      queue.splice(place, 1);
      return true;
    },
    drain() {
      const waiting = queue.slice(head);
      queue = [];
      head = 0;
      return waiting;
    },
    resize(next) {
      size = next;
      fill();
    },
    get size() {
      return size;
    },
    get running() {
      return running;
    },
    get waiting() {
      return queue.length - head;
    },
  };
}
