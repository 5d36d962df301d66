/** What a user sees when something is wrong with real pods, and that it mends by itself once the cause is gone. */
import { expect } from 'chai';
import { eventually } from '../support/eventually.ts';
import { describeFailure, makeGatedPool, openShop, send, type Shop } from './support/shop.ts';

const slow = { timeoutMs: 120_000, intervalMs: 250 };

describe('failures of real pods', function () {
  this.timeout(900_000);
  let shop: Shop;
  before(async () => {
    shop = await openShop('e2e-failures');
  });
  after(() => shop.close());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await describeFailure(shop);
    // All pools of this file claim the same tasks.
    await shop.kubectl('delete', 'wp', '--all');
  });

  const fixed = { replicas: 1 };
  const template = (container: object): object => ({
    template: { spec: { containers: [{ name: 'worker', image: shop.environment.images.app, ...container }] } },
  });
  const ready = async (pool: string): Promise<string> => shop.condition(pool, 'Ready');

  it('names an image that cannot be pulled, and goes on when it is corrected', async () => {
    await shop.apply(makeGatedPool(shop, 'image', { ...fixed, ...template({ image: 'nowhere.invalid/shop:1' }) }));
    await eventually(async () => {
      expect(await ready('image'))
        .to.contain('False/ImagePullFailed')
        .and.to.contain('nowhere.invalid/shop:1');
    }, slow);
    await shop.apply(makeGatedPool(shop, 'image', fixed));
    await eventually(async () => expect(await ready('image')).to.contain('True/Running'), slow);
  });

  it("shows the last words of an app that does not import, and not the broker's password", async () => {
    await shop.redis('CONFIG', 'SET', 'requirepass', 'hunter2secret');
    const address = await shop.kubectl('get', 'service', 'redis', '--output', 'jsonpath={.spec.clusterIP}');
    await shop.kubectl(
      'create',
      'secret',
      'generic',
      'guarded',
      `--from-literal=url=redis://:hunter2secret@${address}:6379/0`,
    );
    const broker = { broker: { urlFrom: { secretKeyRef: { name: 'guarded', key: 'url' } } } };
    await shop.apply(
      makeGatedPool(shop, 'import', { ...fixed, ...broker, runtime: { celery: { app: 'no_such_app:app' } } }),
    );
    await eventually(async () => {
      expect(await ready('import'))
        .to.contain('False/WorkerCrashed')
        .and.to.contain('no_such_app');
    }, slow);
    await shop.apply(makeGatedPool(shop, 'import', { ...fixed, ...broker }));
    await eventually(async () => expect(await ready('import')).to.contain('True/Running'), slow);
    const everything = await shop.kubectl('get', 'workerpools,events,deployments,configmaps', '--output', 'json');
    expect(everything).not.to.contain('hunter2secret');
    await shop.redis('-a', 'hunter2secret', 'CONFIG', 'SET', 'requirepass', '');
  });

  it('lets a running task end when the pool is changed under it, and a new pod takes the queue meanwhile', async () => {
    await shop.redis('DEL', 'e2e:started', 'e2e:done', 'e2e:gate');
    await shop.apply(makeGatedPool(shop, 'roll', { ...fixed, ackMode: 'Late' }));
    await eventually(async () => expect(await ready('roll')).to.contain('True/Running'), slow);
    await send(shop, 'gated.run', 2);
    await eventually(async () => expect(Number(await shop.redis('LLEN', 'e2e:started'))).to.equal(2), slow);
    await shop.apply(
      makeGatedPool(shop, 'roll', {
        ...fixed,
        ackMode: 'Late',
        ...template({ env: [{ name: 'VERSION', value: '2' }] }),
      }),
    );
    await eventually(async () => {
      const pods = await shop.kubectl(
        'get',
        'pods',
        '--selector',
        'muster.dev/pool=roll',
        '--output',
        'jsonpath={range .items[*]}{.metadata.deletionTimestamp} {end}',
      );
      expect(pods.trim(), 'the old pod is told to stop').not.to.equal('');
    }, slow);
    await send(shop, 'gated.run', 1);
    await eventually(async () => expect(Number(await shop.redis('LLEN', 'e2e:started'))).to.equal(3), slow);
    await shop.redis('RPUSH', 'e2e:gate', '1', '2', '3');
    await eventually(async () => expect(Number(await shop.redis('LLEN', 'e2e:done'))).to.equal(3), slow);
    const started = (await shop.redis('LRANGE', 'e2e:started', '0', '-1')).split('\n');
    expect(new Set(started.map((line) => line.split(' ')[0])).size, 'no task started twice').to.equal(3);
    expect(started[2]?.split(' ')[1], 'the new pod took the third').not.to.equal(started[0]?.split(' ')[1]);
  });
});
