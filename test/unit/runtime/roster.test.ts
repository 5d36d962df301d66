import { expect } from 'chai';
import fc from 'fast-check';
import { createRoster, type Seated } from '../../../operator/runtime/roster.ts';

interface Member extends Seated {
  readonly id: number;
}

describe('roster', () => {
  it('has the members that a Set has, whatever comes and goes', () => {
    const step = fc.record({ joins: fc.boolean(), id: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const all = Array.from({ length: 10 }, (_, id): Member => ({ id, seat: undefined }));
        const roster = createRoster<Member>();
        const model = new Set<number>();
        for (const { joins, id } of steps) {
          const member = all[id];
          if (member === undefined) continue;
          if (joins) {
            roster.add(member);
            model.add(id);
          } else {
            roster.remove(member);
            model.delete(id);
          }
          expect(roster.size).to.equal(model.size);
          expect([...roster].map((each) => each.id)).to.have.members([...model]);
        }
      }),
    );
  });

  it('is walked through as it was, although members leave meanwhile', () => {
    const roster = createRoster<Member>();
    for (let id = 0; id < 5; id += 1) roster.add({ id, seat: undefined });
    const seen: number[] = [];
    for (const member of roster) {
      seen.push(member.id);
      roster.remove(member);
    }
    expect(seen).to.deep.equal([0, 1, 2, 3, 4]);
    expect(roster.size).to.equal(0);
  });
});
