import { expect } from 'chai';
import {
  prefetchMultiplier,
  queueNames,
  readWorkerPool,
  tasksPerReplica,
  visibilityTimeoutSeconds,
} from '../../../operator/api/v1alpha1/defaults.ts';
import { makePool } from '../../support/builders.ts';

describe('readWorkerPool', () => {
  const raw = {
    ...makePool('a').manifest(),
    metadata: { ...makePool('a').obj().metadata, managedFields: [{ manager: 'kubectl' }] },
  };

  it('fills in every default', () => {
    const read = readWorkerPool(raw);
    if (read.kind !== 'ok') throw new Error(read.message);
    expect(read.pool.spec).to.deep.equal({
      broker: { url: 'redis://redis:6379/0' },
      queues: [{ name: 'celery' }],
      runtime: { celery: { app: 'shop.celery:app', pool: 'prefork' } },
      concurrency: 1,
      prefetch: { policy: 'Fair' },
      ackMode: 'Early',
      longestTaskSeconds: 3600,
      scaling: { minReplicas: 0, maxReplicas: 10, idleSeconds: 30, mode: 'Auto' },
      template: { spec: { containers: [{ name: 'worker', image: 'shop:1' }] } },
    });
  });

  it('leaves out what is not read, such as managedFields', () => {
    const read = readWorkerPool(raw);
    expect(read.kind === 'ok' && read.pool.metadata).to.not.have.property('managedFields');
  });

  it('keeps fields of the pod template that it does not know', () => {
    const pool = makePool('a').template({
      metadata: { annotations: { a: 'b' } },
      spec: { nodeSelector: { disk: 'ssd' }, containers: [{ name: 'worker', image: 'x', tty: true }] },
    });
    expect(pool.obj().spec.template).to.deep.equal(pool.manifest().spec.template);
  });

  it('keeps a status', () => {
    const status = { replicas: 3, tasks: { waiting: 5 } };
    const read = readWorkerPool({ ...raw, status });
    expect(read.kind === 'ok' && read.pool.status).to.deep.equal(status);
  });

  it('says in one line what is wrong with an object of an older definition', () => {
    const read = readWorkerPool({ ...raw, spec: { ...raw.spec, concurrency: 'many', ackMode: 'Never' } });
    expect(read.kind).to.equal('invalid');
    expect(read.kind === 'invalid' && read.message)
      .to.match(/spec\.concurrency/)
      .and.match(/spec\.ackMode/)
      .and.not.match(/\n/);
  });
});

describe('values that follow from others', () => {
  it('has a multiplier with policy Multiplier only, 4 when none is given', () => {
    expect(prefetchMultiplier(makePool().obj().spec)).to.equal(undefined);
    expect(prefetchMultiplier(makePool().prefetch('Unlimited').obj().spec)).to.equal(undefined);
    expect(prefetchMultiplier(makePool().prefetch('Multiplier').obj().spec)).to.equal(4);
    expect(prefetchMultiplier(makePool().prefetch('Multiplier', 2).obj().spec)).to.equal(2);
  });

  it('means as many tasks for a pod as it has slots, unless told otherwise', () => {
    expect(tasksPerReplica(makePool().concurrency(8).obj().spec)).to.equal(8);
    expect(tasksPerReplica(makePool().concurrency(8).scaling({ tasksPerReplica: 20 }).obj().spec)).to.equal(20);
  });

  it("takes Celery's visibility timeout unless the pool has one", () => {
    expect(visibilityTimeoutSeconds(makePool().obj().spec)).to.equal(3600);
    const broker = { url: 'redis://redis/0', visibilityTimeoutSeconds: 60 };
    expect(visibilityTimeoutSeconds(makePool().broker(broker).obj().spec)).to.equal(60);
  });

  it('lists queues in the order of the pool', () => {
    expect(queueNames(makePool().queue('b').queue('a').obj().spec)).to.deep.equal(['b', 'a']);
  });
});
