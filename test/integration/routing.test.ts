// The routing table as its readers get it: what is in the ConfigMap, what becomes of it when pools change, and where the
// tasks of a plain Celery producer land that loads it.
import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resources, type RawConfigMap } from '../../operator/kube/types.ts';
import { ensureCelery, runPython, type Celery } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('the routing table', function () {
  this.timeout(60_000);
  let stage: Stage;
  let stall: Stall;
  let celery: Celery;
  before(async function () {
    this.timeout(180_000);
    celery = await ensureCelery('5.7.0');
    stage = await startStage();
  });
  after(() => stage.stop());
  beforeEach(async () => {
    stall = await stage.stall();
  });

  const tables = async (): Promise<RawConfigMap[]> => {
    const { items } = await stage.api.client.list<RawConfigMap>(resources.configMaps, { namespace: stall.namespace });
    return items.filter(({ metadata }) => metadata.name?.startsWith('muster-routes-'));
  };
  /** The ConfigMap that a pool's pods mount. */
  const mountedBy = async (name: string): Promise<string | undefined> => {
    const deployment = await stall.deployment(name);
    const volumes = deployment?.spec?.template.spec?.volumes ?? [];
    return volumes.find(({ configMap }) => configMap?.name?.startsWith('muster-routes-'))?.configMap?.name;
  };
  const tableOf = async (name: string): Promise<string | undefined> => {
    const mounted = await mountedBy(name);
    const table = (await tables()).find(({ metadata }) => metadata.name === mounted);
    return table?.data?.['routes.json'];
  };

  it('has names before patterns and longer patterns before shorter ones, of all pools of the broker', async () => {
    await stall.apply(stall.pool('a').queue('all', '*').queue('reports', 'reports.*', 'mail.send'), 'settle');
    await stall.apply(stall.pool('b').queue('yearly', 'reports.yearly.*', 'exports.1'), 'settle');
    const want = [
      '{',
      '  "exports.1": {"queue": "yearly"},',
      '  "mail.send": {"queue": "reports"},',
      '  "reports.yearly.*": {"queue": "yearly"},',
      '  "reports.*": {"queue": "reports"},',
      '  "*": {"queue": "all"}',
      '}',
      '',
    ].join('\n');
    await eventually(async () => expect(await tableOf('a')).to.equal(want));
    expect(await mountedBy('b')).to.equal(await mountedBy('a'));
    const [table, ...others] = await tables();
    expect(others).to.deep.equal([]);
    expect(table?.metadata.ownerReferences?.map(({ name }) => name).sort()).to.deep.equal(['a', 'b']);
    // The same pools again: nothing to write.
    const version = table?.metadata.resourceVersion;
    await stage.restartOperator();
    await stall.patch('a', { concurrency: 2 });
    await eventually(async () => expect((await stall.status('a')).observedGeneration).to.equal(2));
    expect((await tables())[0]?.metadata.resourceVersion).to.equal(version);
  });

  it('loses a pool that moves to another broker, and goes with the last one', async () => {
    await stall.apply(stall.pool('a').queue('first', 'first.*'), 'settle');
    await stall.apply(stall.pool('b').queue('second', 'second.*'), 'settle');
    const old = await mountedBy('a');
    await stall.patch('b', { broker: { url: `${stage.redis.url}/1` } });
    await eventually(async () => {
      expect(await mountedBy('b')).to.not.be.oneOf([old, undefined]);
      expect(await tableOf('b')).to.equal('{\n  "second.*": {"queue": "second"}\n}\n');
      expect(await tableOf('a')).to.equal('{\n  "first.*": {"queue": "first"}\n}\n');
    });
    const owners = async (): Promise<(string | undefined)[][]> =>
      (await tables()).map(({ metadata }) => (metadata.ownerReferences ?? []).map(({ name }) => name)).sort();
    expect(await owners()).to.deep.equal([['a'], ['b']]);
    await stall.patch('a', { broker: { url: `${stage.redis.url}/1` } });
    await eventually(async () => expect((await tables()).map(({ metadata }) => metadata.name)).to.not.include(old));
    await eventually(async () => expect(await owners()).to.deep.equal([['a', 'b']]));
    // The queues are read where the pool is now.
    await stage.redis.client(1).lpush(`${stall.namespace}-b`, '{}', '{}');
    await eventually(async () => expect(await stall.replicas('b')).to.equal(2));
  });

  it('keeps the place of a pool whose Secret is gone for a while', async () => {
    await stall.secret('redis', `${stage.redis.url}/0`);
    const fromSecret = { urlFrom: { secretKeyRef: { name: 'redis', key: 'url' } } };
    await stall.apply(stall.pool('a').broker(fromSecret).queue('first', 'first.*'), 'settle');
    await stall.apply(stall.pool('b').queue('second', 'second.*'), 'settle');
    const both = '{\n  "second.*": {"queue": "second"},\n  "first.*": {"queue": "first"}\n}\n';
    await eventually(async () => expect(await tableOf('a')).to.equal(both));
    await stage.api.client.delete(resources.secrets, stall.namespace, 'redis');
    await stage.restartOperator();
    await eventually(async () => expect(await stall.condition('a', 'Ready')).to.match(/^False\/SecretMissing/));
    // A size that is fixed needs no broker.
    await stall.patch('a', { replicas: 3 });
    await eventually(async () => expect(await stall.replicas('a')).to.equal(3));
    await stall.patch('b', {
      queues: [{ name: `${stall.namespace}-b` }, { name: 'second', tasks: ['second.*', 'third'] }],
    });
    await eventually(async () => expect(await tableOf('b')).to.include('"third"'));
    expect(await tableOf('b')).to.include('"first.*"');
  });

  it('is put back when somebody changes or deletes it, and the worker file too', async () => {
    await stall.apply(stall.pool('a').queue('first', 'first.*'), 'settle');
    const before = await eventually(async () => {
      const table = await tableOf('a');
      expect(table).to.include('first.*');
      return table ?? '';
    });
    const name = (await mountedBy('a')) ?? '';
    const kubectl = (...args: string[]): Promise<string> => stage.kubectl(['--namespace', stall.namespace, ...args]);
    await kubectl('patch', 'configmap', name, '--type=merge', '--patch={"data": {"routes.json": "{}"}}');
    await eventually(async () => expect(await tableOf('a')).to.equal(before));
    await kubectl('delete', 'configmap', name, 'muster-worker-file');
    await eventually(async () => expect(await tableOf('a')).to.equal(before));
    await eventually(() => kubectl('get', 'configmap', 'muster-worker-file'));
  });

  it('is put back after a restart of the operator, which itself writes nothing, and the worker file too', async () => {
    await stall.apply(stall.pool('a').queue('first', 'first.*'), 'settle');
    const name = (await mountedBy('a')) ?? '';
    const read = (configMap: string): Promise<RawConfigMap> =>
      stage.api.client.get<RawConfigMap>(resources.configMaps, stall.namespace, configMap);
    const [table, file] = await Promise.all([read(name), read('muster-worker-file')]);
    await stage.restartOperator();
    // A size is written only by a process that knows the routing: then it has looked at the ConfigMaps.
    await stall.patch('a', { scaling: { minReplicas: 1 } });
    await eventually(async () => expect(await stall.replicas('a')).to.equal(1));
    expect((await read(name)).metadata.resourceVersion).to.equal(table.metadata.resourceVersion);
    expect((await read('muster-worker-file')).metadata.resourceVersion).to.equal(file.metadata.resourceVersion);
    for (const [configMap, key, { data }] of [
      [name, 'routes.json', table],
      ['muster-worker-file', 'muster_worker.py', file],
    ] as const) {
      const patch = JSON.stringify({ data: { [key]: '{}' } });
      await stage.kubectl([
        '--namespace',
        stall.namespace,
        'patch',
        'configmap',
        configMap,
        '--type=merge',
        '-p',
        patch,
      ]);
      await eventually(async () => expect((await read(configMap)).data).to.deep.equal(data));
    }
  });

  it('has the older claim of two, and the other one when the older pool is deleted', async () => {
    await stall.apply(stall.pool('b').queue('older', 'reports.*'), 'settle');
    // Creation times have whole seconds; the names would decide otherwise.
    const created = Date.parse((await stall.get('b')).metadata.creationTimestamp);
    await eventually(() => Date.now() >= created + 1000);
    await stall.apply(stall.pool('a').queue('later', 'reports.*'), 'settle');
    await eventually(async () => expect(await stall.condition('a', 'Routed')).to.match(/^False\/Conflict/));
    expect(await tableOf('a')).to.equal('{\n  "reports.*": {"queue": "older"}\n}\n');
    await stall.delete('b');
    await eventually(async () => expect(await tableOf('a')).to.equal('{\n  "reports.*": {"queue": "later"}\n}\n'));
    await eventually(async () => expect(await stall.condition('a', 'Routed')).to.match(/^True/));
  });

  it('says so where it cannot be written, holds up no other broker, and mends by itself', async () => {
    await stall.apply(stall.pool('before').queue('before', 'before.*'), 'settle');
    const policy = `refuse-${stall.namespace}`;
    const kept = JSON.stringify([await mountedBy('before'), 'muster-worker-file']).replaceAll('"', "'");
    const matches = {
      resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['configmaps'] }],
    };
    const binding = {
      policyName: policy,
      validationActions: ['Deny'],
      matchResources: {
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': stall.namespace } },
        resourceRules: matches.resourceRules,
      },
    };
    const apply = (object: object): Promise<string> =>
      stage.kubectl(['apply', '--server-side', '--filename=-'], JSON.stringify(object));
    const apiVersion = 'admissionregistration.k8s.io/v1';
    await apply({
      ...{ apiVersion, kind: 'ValidatingAdmissionPolicy', metadata: { name: policy } },
      spec: {
        matchConstraints: matches,
        validations: [{ expression: `object.metadata.name in ${kept}`, message: 'no more of these' }],
      },
    });
    await apply({ apiVersion, kind: 'ValidatingAdmissionPolicyBinding', metadata: { name: policy }, spec: binding });
    const probe = (): Promise<string> =>
      stage.kubectl(['--namespace', stall.namespace, 'create', 'configmap', 'probe', '--dry-run=server']);
    await eventually(async () => expect(await probe().then(() => '', String)).to.include('no more of these'));
    await stall.apply(
      stall
        .pool('after')
        .broker({ url: `${stage.redis.url}/1` })
        .queue('after', 'after.*'),
    );
    await eventually(async () => {
      expect(await stall.condition('after', 'Ready')).to.match(/^False\/Forbidden.*no more of these/);
      expect(await stall.condition('after', 'Routed')).to.match(/^False\/Forbidden.*ConfigMap muster-routes-/);
    });
    await stall.patch('before', { queues: [{ name: 'before', tasks: ['before.*', 'also.*'] }] });
    await eventually(async () => expect(await tableOf('before')).to.include('also.*'));
    expect(await stall.condition('before', 'Routed')).to.match(/^True/);
    await stage.kubectl(['delete', 'validatingadmissionpolicybinding', policy]);
    await stage.kubectl(['delete', 'validatingadmissionpolicy', policy]);
    await eventually(async () => expect(await tableOf('after')).to.include('after.*'), { timeoutMs: 60_000 });
    await eventually(async () => expect(await stall.condition('after', 'Routed')).to.match(/^True/));
  });

  it('leads each task of a plain producer to the pool that claims it, and the pools grow', async () => {
    const names = ['long', 'short'].map((name) => `${stall.namespace}-${name}`);
    await stall.apply(stall.pool('long').queue('long-reports', 'reports.*', 'exports.yearly').max(20), 'settle');
    await stall.apply(stall.pool('short').queue('short-exports', 'exports.*').max(20), 'settle');
    await eventually(async () => expect(await tableOf('short')).to.include('exports.*'));
    const dir = await mkdtemp(join(tmpdir(), 'muster-producer-'));
    try {
      await writeFile(join(dir, 'routes.json'), (await tableOf('long')) ?? '');
      const code = [
        'import json, os',
        'from celery import Celery',
        'app = Celery()',
        'app.conf.task_routes = json.load(open(os.environ["ROUTES"]))',
        'for task in ("reports.a", "reports.b", "exports.yearly", "exports.daily", "mail.send"): app.send_task(task)',
      ].join('\n');
      await runPython(celery, code, { CELERY_BROKER_URL: `${stage.redis.url}/0`, ROUTES: join(dir, 'routes.json') });
    } finally {
      await rm(dir, { recursive: true });
    }
    const length = (queue: string): Promise<unknown> => stage.redis.command('LLEN', queue);
    expect(await Promise.all(['long-reports', 'short-exports', 'celery', ...names].map(length))).to.deep.equal([
      ...[3, 1, 1, 0, 0],
    ]);
    await eventually(async () => expect(await stall.replicas('long')).to.equal(3));
    await eventually(async () => expect(await stall.replicas('short')).to.equal(1));
    await stage.redis.command('FLUSHALL');
  });
});
