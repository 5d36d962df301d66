/**
 * Real pods, from zero and back. The case that gave the project its reason: with Celery's defaults one worker takes ten
 * long tasks, the queue reads 0, and a scaler that believes the queue ends the worker in the middle of them.
 */
import { expect } from 'chai';
import { eventually } from '../support/eventually.ts';
import { describeFailure, makeGatedPool, openShop, send, type Shop } from './support/shop.ts';

const slow = { timeoutMs: 120_000, intervalMs: 250 };

describe('scaling real pods', function () {
  this.timeout(900_000); // The first run builds images.
  let shop: Shop;
  before(async () => {
    shop = await openShop('e2e-scaling');
  });
  after(() => shop.close());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await describeFailure(shop);
  });

  const count = async (list: string): Promise<number> => Number(await shop.redis('LLEN', list));

  it('takes ten long tasks from zero, and does not shrink before the last one has ended', async () => {
    await shop.apply(makeGatedPool(shop, 'long', { prefetch: { policy: 'Multiplier' }, ackMode: 'Early' }));
    await eventually(
      async () => expect(await shop.condition('long', 'Ready')).to.contain('Ready=True/ScaledToZero'),
      slow,
    );
    expect(await shop.kubectl('get', 'pods', '--selector', 'muster.dev/pool=long', '--output', 'name')).to.equal('');

    await send(shop, 'gated.run', 10);
    await eventually(async () => expect(await count('e2e:started')).to.equal(2), slow);
    // Two run, eight are held by the same worker, and the queue is empty.
    await eventually(async () => expect(Number(await shop.redis('HLEN', 'unacked'))).to.equal(8), slow);
    expect(await count('long')).to.equal(0);
    await eventually(
      async () => expect((await shop.status('long')).tasks).to.deep.equal({ waiting: 0, running: 2, held: 8 }),
      slow,
    );

    for (let done = 1; done <= 10; done += 1) {
      expect(await shop.replicas('long'), `after ${done - 1} of 10`).to.be.at.least(1);
      await shop.redis('RPUSH', 'e2e:gate', 'go');
      await eventually(async () => expect(await count('e2e:done')).to.equal(done), slow);
    }
    await eventually(async () => expect(await shop.replicas('long')).to.equal(0), slow);
    expect(await count('e2e:done')).to.equal(10);
    expect(await count('e2e:started')).to.equal(10);
    expect((await shop.status('long')).lastDecision).to.deep.include({ to: 0, reason: 'Idle' });
  });

  it('goes to the size that the backlog needs in one step', async () => {
    await shop.apply(
      makeGatedPool(shop, 'wide', {
        scaling: { maxReplicas: 4, tasksPerReplica: 2, idleSeconds: 5 },
        queues: [{ name: 'wide', tasks: ['noted.*'] }],
      }),
    );
    await eventually(async () => expect(await shop.condition('wide', 'Ready')).to.contain('ScaledToZero'), slow);
    await shop.redis('DEL', 'e2e:noted');
    await send(shop, 'noted.run', 30);
    await eventually(async () => expect(await count('e2e:noted')).to.equal(30), slow);
    await eventually(async () => expect(await shop.replicas('wide')).to.equal(0), slow);
    const events = await shop.kubectl(
      'get',
      'events.events.k8s.io',
      '--output',
      'jsonpath={range .items[*]}{.reason} {.regarding.name}: {.note}{"\\n"}{end}',
    );
    const steps = events.split('\n').filter((line) => line.startsWith('Scaled wide'));
    expect(steps.filter((line) => line.includes('→ 0'))).to.have.length(1);
    expect(steps.filter((line) => !line.includes('→ 0')).length).to.be.at.most(4);
  });

  it('obeys kubectl scale, and goes back to autoscaling when the size is taken out', async () => {
    await shop.kubectl('scale', 'wp/wide', '--replicas=3');
    await eventually(async () => expect(await shop.replicas('wide')).to.equal(3), slow);
    await eventually(async () => expect(await shop.condition('wide', 'Ready')).to.contain('3 of 3 pods ready'), slow);
    await shop.kubectl('patch', 'wp/wide', '--type=json', '--patch=[{"op": "remove", "path": "/spec/replicas"}]');
    await eventually(async () => expect(await shop.replicas('wide')).to.equal(0), slow);
  });

  it('leaves nothing behind when a pool is deleted', async () => {
    await shop.kubectl('delete', 'wp', '--all');
    await eventually(async () => {
      const left = await shop.kubectl(
        'get',
        'deployments,configmaps,pods',
        '--selector',
        'app.kubernetes.io/managed-by=muster',
        '--output',
        'name',
      );
      expect(left).to.equal('');
    }, slow);
  });
});
