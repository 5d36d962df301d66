/** What a consumer holds: from its claim until it is settled, in the order in which it was claimed. */
import type { Delivery, Move } from './exchange.ts';

/** The messages of a consumer. */
export interface Holdings {
  has(tag: string): boolean;
  /** Tags of all of them. */
  tags(): readonly string[];
  /** How many are not handed over yet. */
  arrived(): number;
  add(delivery: Delivery): void;
  /** Takes out the next ones to hand over, at most so many. */
  next(most: number): readonly Delivery[];
  /** Holds a message no more. */
  forget(tag: string): void;
  /** Keeps a move to the head of a list until its turn has come. */
  giveBack(move: Move): void;
  /** How many are to be put at the head of their lists. */
  heads(): number;
  /**
   * Takes these out, the one claimed last first: so that the one claimed first is at the head in the end. To be called
   * when nothing can arrive any more, as what arrives comes behind all of them.
   */
  orderedHeads(): readonly Move[];
}

/** Nothing, for a start. */
export function createHoldings(): Holdings {
  /** Tag and place among all that were claimed. */
  const places = new Map<string, number>();
  const arrived: Delivery[] = [];
  let heads: { readonly move: Move; readonly place: number }[] = [];
  let nextPlace = 0;

  return {
    has: (tag) => places.has(tag),
    tags: () => [...places.keys()],
    arrived: () => arrived.length,
    add(delivery) {
      places.set(delivery.tag, nextPlace++);
      arrived.push(delivery);
    },
    next: (most) => arrived.splice(0, most),
    forget: (tag) => void places.delete(tag),
    giveBack(move) {
      heads.push({ move, place: places.get(move.tag) ?? -1 });
    },
    heads: () => heads.length,
    orderedHeads() {
      const ordered = heads.sort((one, other) => other.place - one.place).map(({ move }) => move);
      heads = [];
      return ordered;
    },
  };
}
