import { expect } from 'chai';
import {
  buildRoutesConfigMap,
  buildWorkerFileConfigMap,
  routesConfigMapName,
} from '../../../operator/plan/configmap.ts';
import { buildRoutes } from '../../../operator/plan/routing.ts';
import { makePool } from '../../support/builders.ts';
import { expectGolden } from './golden.ts';

const older = '2026-01-01T00:00:00Z';
const newer = '2026-01-02T00:00:00Z';

/** The patterns in the order of the text: JSON.parse would move keys that look like numbers. */
function orderOf(json: string): string[] {
  return [...json.matchAll(/^ {2}("(?:[^"\\]|\\.)*"):/gm)].map(([, key = '']) => JSON.parse(key) as string);
}

describe('buildRoutes', () => {
  it('puts names before patterns and longer patterns before shorter ones, whatever the order of pools', () => {
    const pools = [
      makePool('a').queue('q1', '*', 'reports.*', 'z.exact').obj(),
      makePool('b').queue('q2', 'reports.yearly.*', 'a.exact', 'exports.*', '7').obj(),
    ];
    const want = ['7', 'a.exact', 'z.exact', 'reports.yearly.*', 'exports.*', 'reports.*', '*'];
    expect(orderOf(buildRoutes(pools).json)).to.deep.equal(want);
    expect(buildRoutes([...pools].reverse()).json).to.equal(buildRoutes(pools).json);
  });

  it("is JSON in the form of Celery's task_routes", () => {
    const { json } = buildRoutes([makePool().queue('q "1"', 'a.*').obj()]);
    expect(JSON.parse(json)).to.deep.equal({ 'a.*': { queue: 'q "1"' } });
  });

  it('is an empty object without patterns', () => {
    expect(buildRoutes([makePool().obj()]).json).to.equal('{}\n');
    expect(buildRoutes([]).json).to.equal('{}\n');
  });

  it('finds no conflict among pools with queues and patterns of their own', () => {
    const routes = buildRoutes([makePool('a').queue('a', 'a.*').obj(), makePool('b').queue('b', 'b.*').obj()]);
    expect([...routes.conflicts]).to.deep.equal([]);
  });

  it('lets the older of two claims stand and tells both pools of the other', () => {
    const routes = buildRoutes([
      makePool('a').created(newer).queue('qa', 'x.*').obj(),
      makePool('b').created(older).queue('qb', 'x.*').obj(),
    ]);
    expect(JSON.parse(routes.json)).to.deep.equal({ 'x.*': { queue: 'qb' } });
    expect(Object.fromEntries(routes.conflicts)).to.deep.equal({
      a: [
        'tasks x.* are claimed for queue qb by pool b already, and the older claim stands; remove the pattern from one of the pools',
      ],
      b: ['tasks x.* are claimed for queue qa by pool a as well; the older claim, of this pool, stands'],
    });
  });

  it('lets the name decide between pools of the same second', () => {
    const routes = buildRoutes([makePool('b').queue('qb', 'x').obj(), makePool('a').queue('qa', 'x').obj()]);
    expect(JSON.parse(routes.json)).to.deep.equal({ x: { queue: 'qa' } });
  });

  it('tells every pool that consumes the same queue', () => {
    const pools = ['a', 'b', 'c'].map((name) => makePool(name).queue('shared').queue(name).obj());
    const { conflicts } = buildRoutes(pools);
    expect(conflicts.get('b')).to.deep.equal([
      'queue shared is consumed by pools a and c as well, so that any of them may run its tasks; give every pool queues of its own',
    ]);
    expect([...conflicts.keys()]).to.have.members(['a', 'b', 'c']);
  });

  it('stays readable when many pools consume the same queue', () => {
    const pools = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => makePool(name).queue('shared').obj());
    expect(buildRoutes(pools).conflicts.get('a')?.[0]).to.match(/consumed by pools b, c, d and 2 more as well/);
  });

  it('says once that the same pattern goes to the same queue in two pools: it is the queue that is shared', () => {
    const pools = ['a', 'b'].map((name) => makePool(name).queue('q', 'x.*').obj());
    expect(buildRoutes(pools).conflicts.get('a')).to.have.length(1);
  });

  it('finds a pattern that one pool claims for two of its queues', () => {
    const { json, conflicts } = buildRoutes([makePool('a').queue('q1', 'x.*').queue('q2', 'x.*').obj()]);
    expect(JSON.parse(json)).to.deep.equal({ 'x.*': { queue: 'q1' } });
    expect(conflicts.get('a')?.[0]).to.match(/for queue q1 and for queue q2 of this pool/);
  });

  it('is the same, conflicts included, when it is made again', () => {
    const pools = ['a', 'b', 'c'].map((name) => makePool(name).queue('q', `${name}.*`, 'x').obj());
    const [first, second] = [buildRoutes(pools), buildRoutes([...pools].reverse())];
    expect(first.json).to.equal(second.json);
    expect(new Map(first.conflicts)).to.deep.equal(new Map(second.conflicts));
  });
});

describe('the ConfigMaps of a namespace', () => {
  const pools = [makePool('b').queue('b', 'b.*').obj(), makePool('a').queue('a', 'a.*').obj()];

  it('gives configmap-routes.yaml', () => {
    expectGolden('configmap-routes', buildRoutesConfigMap('shop', '0123abcd', pools, buildRoutes(pools)));
  });

  it('gives configmap-worker-file.yaml', () => {
    expectGolden('configmap-worker-file', buildWorkerFileConfigMap('shop', pools, 'print("hello")\n'));
  });

  it('is owned by every pool, in an order that does not depend on theirs', () => {
    const again = buildWorkerFileConfigMap('shop', [...pools].reverse(), 'x');
    expect(again.metadata.ownerReferences?.map(({ name }) => name)).to.deep.equal(['a', 'b']);
    expect(again.metadata.ownerReferences?.every((owner) => owner.controller === undefined)).to.equal(true);
  });

  it('is named after the broker', () => {
    expect(routesConfigMapName('0123abcd')).to.equal('muster-routes-0123abcd');
  });
});
