import { expect } from 'chai';
import fc from 'fast-check';
import { createStore, type Change, type Store } from '../../../operator/kube/store.ts';
import type { KubeObject } from '../../../operator/kube/types.ts';
import type { RawItem } from '../../../operator/kube/watch.ts';

interface Thing extends KubeObject {
  team: string;
}

const item = (name: string, version: number, team = 'a', uid = name): RawItem => ({
  metadata: { namespace: 'ns', name, resourceVersion: String(version), uid, labels: { team } },
});
const toThing = (raw: unknown): Thing => {
  const { metadata } = raw as RawItem;
  return { metadata: { ...metadata }, team: metadata.labels?.['team'] ?? '' };
};
const build = (): Store<Thing> => createStore<Thing>(toThing, { byTeam: (thing) => [thing.team] });
const byName = (things: Iterable<Thing>): Thing[] =>
  [...things].sort((a, b) => (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''));
const replaceAll = (store: Store<Thing>, items: readonly RawItem[]): Change<Thing>[] => {
  const replacement = store.replace();
  return [...items.flatMap((each) => replacement.put(each)), ...replacement.end()];
};
const words = (changes: readonly Change<Thing>[]): string[] =>
  changes.map(({ type, key, object }) => `${type} ${key}@${object.metadata.resourceVersion}`);

describe('store', () => {
  it('says what a list changed against what was there', () => {
    const store = build();
    expect(words(replaceAll(store, [item('a', 1), item('b', 1)]))).to.deep.equal(['added ns/a@1', 'added ns/b@1']);
    expect(words(replaceAll(store, [item('b', 2), item('c', 1)]))).to.deep.equal([
      'updated ns/b@2',
      'added ns/c@1',
      'deleted ns/a@1',
    ]);
  });

  it('is silent about what it knows', () => {
    const store = build();
    replaceAll(store, [item('a', 1)]);
    expect(replaceAll(store, [item('a', 1)])).to.deep.equal([]);
    expect(store.put(item('a', 1))).to.deep.equal([]);
    expect(store.remove(item('z', 1))).to.deep.equal([]);
  });

  it('tells a new object of the same name from a change', () => {
    const store = build();
    store.put(item('a', 1, 'a', 'uid-1'));
    expect(words(store.put(item('a', 2, 'b', 'uid-2')))).to.deep.equal(['deleted ns/a@1', 'added ns/a@2']);
    expect(store.byIndex('byTeam', 'a')).to.deep.equal([]);
    expect(store.byIndex('byTeam', 'b')).to.have.length(1);
  });

  it('keeps the last good record when a new one cannot be read', () => {
    const errors: string[] = [];
    const store = createStore<Thing>(
      (raw) => {
        const thing = toThing(raw);
        if (thing.team === 'bad') throw new Error('no');
        return thing;
      },
      {},
      (key) => void errors.push(key),
    );
    store.put(item('a', 1));
    expect(store.put(item('a', 2, 'bad'))).to.deep.equal([]);
    expect(store.get('ns/a')?.team).to.equal('a');
    expect(errors).to.deep.equal(['ns/a']);
    expect(replaceAll(store, [item('a', 2, 'bad')])).to.deep.equal([], 'it is still there, so it was not deleted');
  });

  it('finds records by index, follows their changes, and refuses an index that it does not have', () => {
    const store = build();
    store.put(item('a', 1, 'red'));
    store.put(item('b', 1, 'red'));
    store.put(item('a', 2, 'blue'));
    expect(store.byIndex('byTeam', 'red').map((each) => each.metadata.name)).to.deep.equal(['b']);
    expect(store.byIndex('byTeam', 'blue').map((each) => each.metadata.name)).to.deep.equal(['a']);
    expect(() => store.byIndex('byColour', 'red')).to.throw('byColour');
  });

  type Step = { kind: 'put' | 'remove'; name: string; team: string } | { kind: 'list'; names: [string, string][] };
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const team = fc.constantFrom('red', 'blue');
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constantFrom('put' as const, 'remove' as const), name, team }),
    fc.record({
      kind: fc.constant('list' as const),
      names: fc.uniqueArray(fc.tuple(name, team), { selector: ([each]) => each }),
    }),
  );

  it('always equals the replayed changes, and its indexes equal a search', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const store = build();
        const model = new Map<string, string>(); // key → version: what the server has.
        const replayed = new Map<string, Thing>(); // What someone who only hears the changes believes.
        let version = 0;
        const hear = (changes: readonly Change<Thing>[]): void => {
          for (const change of changes) {
            const known = replayed.get(change.key);
            expect(change.type === 'added').to.equal(known === undefined);
            if (change.type === 'updated') expect(change.old).to.equal(known);
            if (change.type === 'deleted') replayed.delete(change.key);
            else replayed.set(change.key, change.object);
          }
        };
        for (const each of steps) {
          version += 1;
          if (each.kind === 'list') {
            model.clear();
            for (const [listed] of each.names) model.set(`ns/${listed}`, String(version));
            const items = each.names.map(([listed, of]) => item(listed, version, of));
            hear(replaceAll(store, items));
          } else if (each.kind === 'put') {
            model.set(`ns/${each.name}`, String(version));
            hear(store.put(item(each.name, version, each.team)));
          } else {
            model.delete(`ns/${each.name}`);
            hear(store.remove(item(each.name, version)));
          }
          const held = new Map(
            store.list().map((thing) => [`ns/${thing.metadata.name}`, thing.metadata.resourceVersion]),
          );
          expect(held).to.deep.equal(model);
          expect(byName(replayed.values())).to.deep.equal(byName(store.list()));
          expect(store.size).to.equal(model.size);
          for (const of of ['red', 'blue']) {
            const searched = store.list().filter((thing) => thing.team === of);
            expect(byName(store.byIndex('byTeam', of))).to.deep.equal(byName(searched));
          }
        }
      }),
    );
  });
});
