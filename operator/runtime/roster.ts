/**
 * A set for members that come and go thousands of times a second.
 *
 * Why not a Set or a Map: V8 makes a new table whenever many members have left, and the table it gives up points at its
 * successor. One such table that has got old keeps all later ones alive, with every member they had, until the next full
 * collection: most messages of a worker then outlived their tasks, and collecting them took a fifth of its CPU time.
 */

/** What can be a member. Of one roster at a time. */
export interface Seated {
  /** Its place in the roster, which alone writes it; undefined outside. */
  seat: number | undefined;
}

/** Members, in no order. */
export interface Roster<Member extends Seated> extends Iterable<Member> {
  readonly size: number;
  /** Does nothing for one that is there. */
  add(member: Member): void;
  /** Does nothing for one that is not there. */
  remove(member: Member): void;
  /** All members now; what comes and goes while they are walked through changes nothing. */
  [Symbol.iterator](): IterableIterator<Member>;
}

/** Makes an empty one. */
export function createRoster<Member extends Seated>(): Roster<Member> {
  const members: Member[] = [];
  return {
    get size() {
      return members.length;
    },
    add(member) {
      if (member.seat !== undefined) return;
      member.seat = members.length;
      members.push(member);
    },
    remove(member) {
      const { seat } = member;
      if (seat === undefined) return;
      member.seat = undefined;
      const last = members.pop();
      // The last one takes the seat that became free.
      if (last === undefined || last === member) return;
      members[seat] = last;
      last.seat = seat;
    },
    [Symbol.iterator]: () => [...members][Symbol.iterator](),
  };
}
