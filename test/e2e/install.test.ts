/** The operator as Helm installs it: the example runs, RBAC is enough and no more, upgrades reach the CRD. */
import { expect } from 'chai';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { eventually } from '../support/eventually.ts';
import { chart, operatorNamespace } from './support/environment.ts';
import { describeFailure, makeGatedPool, openShop, send, type Shop } from './support/shop.ts';

const slow = { timeoutMs: 120_000, intervalMs: 250 };
const example = fileURLToPath(new URL('../../examples/celery-long-short.yaml', import.meta.url));

describe('the installed operator', function () {
  this.timeout(900_000);
  let shop: Shop;
  before(async () => {
    shop = await openShop('e2e-install');
  });
  after(() => shop.close());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await describeFailure(shop);
  });
  const operatorPods = async (): Promise<string[]> =>
    (
      await shop.environment.kubectl([
        '--namespace',
        operatorNamespace,
        'get',
        'pods',
        '--selector',
        'app.kubernetes.io/name=muster-operator',
        '--output',
        'jsonpath={range .items[*]}{.metadata.name} {end}',
      ])
    )
      .trim()
      .split(' ');
  const upgrade = (from = chart, ...values: string[]): Promise<string> =>
    shop.environment.helm([
      ...['upgrade', 'muster', from, '--namespace', operatorNamespace, '--wait', '--timeout', '120s'],
      ...shop.environment.imageValues,
      ...values,
    ]);

  it('runs the example: long and short tasks on pools of their own', async () => {
    const yaml = (await readFile(example, 'utf8')).replaceAll(
      'image: shop:1',
      `image: ${shop.environment.images.shop}`,
    );
    await shop.environment.kubectl(['--namespace', shop.namespace, 'apply', '--filename', '-'], yaml);
    await eventually(async () => expect(await shop.condition('thumbnails', 'Ready')).to.contain('True/Running'), slow);
    await eventually(
      async () => expect(await shop.condition('reports', 'Ready')).to.contain('True/ScaledToZero'),
      slow,
    );
    await send(shop, 'reports.build', 3);
    await eventually(async () => expect(await shop.replicas('reports')).to.equal(2), slow);
    await eventually(async () => {
      const logs = await shop.kubectl('logs', '--selector', 'muster.dev/pool=reports', '--tail=-1');
      expect(logs.match(/Task reports\.build\[.*succeeded/g)).to.have.length(3);
    }, slow);
    await shop.kubectl('delete', 'wp', '--all');
  });

  it('sends each task to its pool from a plain producer that mounts the routing table', async () => {
    await shop.apply(
      makeGatedPool(shop, 'first', { queues: [{ name: 'first', tasks: ['noted.*'] }] }),
      makeGatedPool(shop, 'second', { queues: [{ name: 'second', tasks: ['*.run'] }] }),
    );
    for (const pool of ['first', 'second']) {
      await eventually(async () => expect(await shop.condition(pool, 'Routed')).to.contain('True/Routed'), slow);
    }
    await send(shop, 'noted.run', 4);
    await send(shop, 'other.run', 3);
    await eventually(async () => {
      const notes = (await shop.redis('LRANGE', 'e2e:noted', '0', '-1')).split('\n').sort();
      expect(notes).to.deep.equal(['first', 'first', 'first', 'first', 'second', 'second', 'second']);
    }, slow);
  });

  it('goes on when the leading operator is killed', async () => {
    const holder = await shop.environment.kubectl([
      '--namespace',
      operatorNamespace,
      'get',
      'lease',
      'muster',
      '--output',
      'jsonpath={.spec.holderIdentity}',
    ]);
    const leader = (await operatorPods()).find((pod) => holder.startsWith(pod));
    expect(leader).to.be.a('string');
    await shop.environment.kubectl([
      '--namespace',
      operatorNamespace,
      'delete',
      'pod',
      leader ?? '',
      '--grace-period=0',
      '--force',
    ]);
    await shop.redis('DEL', 'e2e:noted');
    await send(shop, 'noted.run', 1);
    await eventually(async () => expect(await shop.redis('LLEN', 'e2e:noted')).to.equal('1'), slow);
  });

  it('serves one namespace with nothing but a Role, and every namespace again after the next upgrade', async () => {
    await upgrade(chart, '--set', `watchNamespace=${shop.namespace}`);
    const roles = await shop.environment.kubectl([
      'get',
      'clusterroles,clusterrolebindings',
      '--selector',
      'app.kubernetes.io/name=muster-operator',
      '--output',
      'name',
    ]);
    expect(roles).to.equal('');
    await shop.redis('DEL', 'e2e:noted');
    await send(shop, 'other.run', 2);
    await eventually(async () => expect(await shop.redis('LLEN', 'e2e:noted')).to.equal('2'), slow);
    await upgrade();
    const back = await shop.environment.kubectl([
      'get',
      'clusterroles',
      '--selector',
      'app.kubernetes.io/name=muster-operator',
      '--output',
      'name',
    ]);
    expect(back).not.to.equal('');
  });

  it('brings a changed CRD to the cluster with an upgrade', async () => {
    const columns = async (): Promise<string> =>
      shop.environment.kubectl([
        ...['get', 'customresourcedefinition/workerpools.muster.dev'],
        ...['--output', 'jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}'],
      ]);
    // A release whose CRD still has no columns, then this one.
    const older = await mkdtemp(join(tmpdir(), 'muster-chart-'));
    try {
      await cp(chart, older, { recursive: true });
      const file = join(older, 'charts/muster-crds/files/muster.dev_workerpools.yaml');
      const crd = parse(await readFile(file, 'utf8')) as {
        spec: { versions: { additionalPrinterColumns: unknown }[] };
      };
      for (const version of crd.spec.versions) version.additionalPrinterColumns = [];
      await writeFile(file, stringify(crd));
      await upgrade(older);
      expect(await columns()).to.equal('');
    } finally {
      await rm(older, { recursive: true });
    }
    await upgrade();
    expect(await columns()).to.contain('Desired');
  });

  it('was refused nothing by RBAC', async () => {
    for (const pod of await operatorPods()) {
      const log = await shop.environment.kubectl(['--namespace', operatorNamespace, 'logs', pod]);
      expect(log).not.to.contain('forbidden');
    }
  });
});
