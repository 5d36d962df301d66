/** What a consumer holds: from its claim until it is settled, in the order in which it was claimed. */
import { createRoster } from '../../operator/runtime/roster.ts';
import type { Delivery, Move } from './exchange.ts';

/** The messages of a consumer. */
export interface Holdings {
  /** Tags of all of them. */
  tags(): ReadonlySet<string>;
  /** How many are not handed over yet. */
  arrived(): number;
  add(delivery: Delivery): void;
  /** Takes out the next ones to hand over, at most so many. */
  next(most: number): readonly Delivery[];
  /** Holds a message no more. */
  forget(delivery: Delivery): void;
  /** Keeps a move of a message to the head of a list until its turn has come. */
  giveBack(delivery: Delivery, move: Move): void;
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
  const held = createRoster<Delivery>();
  const arrived: Delivery[] = [];
  let heads: { readonly move: Move; readonly number: number }[] = [];
  let claims = 0;

  return {
    tags: () => new Set([...held].map(({ tag }) => tag)),
    arrived: () => arrived.length,
    add(delivery) {
      delivery.number = claims++;
      held.add(delivery);
      arrived.push(delivery);
    },
    next: (most) => arrived.splice(0, most),
    forget: (delivery) => held.remove(delivery),
    giveBack({ number }, move) {
      heads.push({ move, number });
    },
    heads: () => heads.length,
    orderedHeads() {
      const ordered = heads.sort((one, other) => other.number - one.number).map(({ move }) => move);
      heads = [];
      return ordered;
    },
  };
}
