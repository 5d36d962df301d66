/** A binary heap: the smallest item by `isBefore` comes out first. Used for what is due and for what matters most. */

/** Items in order of urgency. */
export interface Heap<T> {
  push(item: T): void;
  peek(): T | undefined;
  pop(): T | undefined;
  readonly size: number;
}

/** Builds an empty heap. `isBefore` must be a strict order. */
export function createHeap<T>(isBefore: (a: T, b: T) => boolean): Heap<T> {
  const items: T[] = [];

  const swap = (a: number, b: number): void => {
    const [x, y] = [items[a], items[b]];
    if (x !== undefined && y !== undefined) [items[a], items[b]] = [y, x];
  };
  const before = (a: number, b: number): boolean => {
    const [x, y] = [items[a], items[b]];
    return x !== undefined && y !== undefined && isBefore(x, y);
  };

  return {
    push: (item) => {
      items.push(item);
      for (let at = items.length - 1; at > 0;) {
        const parent = (at - 1) >> 1;
        if (!before(at, parent)) break;
        swap(at, parent);
        at = parent;
      }
    },
    peek: () => items[0],
    pop: () => {
      swap(0, items.length - 1);
      const top = items.pop();
      for (let at = 0; ;) {
        let least = at;
        for (const child of [2 * at + 1, 2 * at + 2]) if (before(child, least)) least = child;
        if (least === at) return top;
        swap(at, least);
        at = least;
      }
    },
    get size() {
      return items.length;
    },
  };
}
