// What the Kubernetes client and the controllers rely on, asked of the real API server: status codes, server-side apply,
// who owns replicas, versions, watches, times. When a new Kubernetes answers otherwise, this is the file that says so.
import { expect } from 'chai';
import { isKubeError, KubeError, type KubeErrorKind } from '../../operator/kube/errors.ts';
import { createEventRecorder } from '../../operator/kube/events.ts';
import { runWatch, type WatchEnd, type WatchEvent } from '../../operator/kube/watch.ts';
import {
  resources,
  type KubeObject,
  type RawConfigMap,
  type RawDeployment,
  type RawEvent,
  type RawLease,
} from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { isAtLeast } from '../../operator/runtime/freshness.ts';
import { applyConfigMap, startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { silentLog } from '../support/silentLog.ts';
import { loadKubeConfig } from '../../operator/kube/kubeconfig.ts';

describe('API server contract', () => {
  let api: TestApiServer;
  let namespace: string;

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    namespace = await api.namespace();
  });

  describe('errors', () => {
    const table: Record<string, { run: () => Promise<unknown>; want: KubeErrorKind; reason?: string }> = {
      'a missing object': {
        run: () => api.client.get(resources.pods, namespace, 'nope'),
        want: 'notFound',
        reason: 'NotFound',
      },
      'a missing kind': {
        run: () =>
          api.client.list({ group: 'nope.dev', version: 'v1', plural: 'nopes', kind: 'Nope', namespaced: true }),
        want: 'notFound',
      },
      'a create of what exists': {
        run: () => api.client.create(resources.namespaces, undefined, { metadata: { name: 'default' } }),
        want: 'alreadyExists',
        reason: 'AlreadyExists',
      },
      'a patch on an old version': {
        run: async () => {
          const { metadata } = await applyConfigMap(api.client, namespace, 'a', '1');
          await applyConfigMap(api.client, namespace, 'a', '2');
          const body = { metadata: { resourceVersion: metadata.resourceVersion }, data: { value: '3' } };
          await api.client.mergePatch(resources.configMaps, namespace, 'a', body, { fieldManager: 'test' });
        },
        want: 'conflict',
        reason: 'Conflict',
      },
      'a delete of another object of that name': {
        run: async () => {
          await applyConfigMap(api.client, namespace, 'a', '1');
          await api.client.delete(resources.configMaps, namespace, 'a', { uid: 'some-other' });
        },
        want: 'conflict',
      },
      'a value that is not allowed': {
        run: () => api.client.create(resources.configMaps, namespace, { metadata: { name: 'NOT A NAME' } }),
        want: 'invalid',
        reason: 'Invalid',
      },
      'an apply without a field manager': {
        run: () => api.client.apply(resources.configMaps, { metadata: { namespace, name: 'a' } }, { fieldManager: '' }),
        want: 'invalid',
      },
      'a continue token from long ago': {
        run: () => api.client.list(resources.configMaps, { limit: 1, continue: 'bm90IGEgdG9rZW4' }),
        want: 'badRequest',
      },
    };
    for (const [name, tc] of Object.entries(table)) {
      it(`${name} is ${tc.want}`, async () => {
        const error = await failureOf(tc.run());
        expect(error.kind, error.message).to.equal(tc.want);
        if (tc.reason !== undefined) expect(error.reason).to.equal(tc.reason);
      });
    }

    it('a wrong token is unauthorized, a missing permission forbidden, and says which', async () => {
      const wrong = loadKubeConfig({ path: api.cluster.kubeconfigPath });
      wrong.users = wrong.users.map((user) => ({ ...user, token: 'wrong' }));
      expect((await failureOf(api.connect(wrong).client.list(resources.pods))).kind).to.equal('unauthorized');
      const nobody = loadKubeConfig({ path: api.cluster.kubeconfigPath });
      nobody.users = nobody.users.map((user) => ({ ...user, impersonateUser: 'nobody' }));
      const error = await failureOf(api.connect(nobody).client.get(resources.secrets, namespace, 'a'));
      expect(error.kind).to.equal('forbidden');
      expect(error.message).to.contain('"nobody" cannot get resource "secrets"');
    });
  });

  describe('server-side apply', () => {
    const deployment = (replicas?: number, paused?: boolean): RawDeployment => ({
      metadata: { namespace, name: 'd' },
      spec: {
        ...(replicas === undefined ? {} : { replicas }),
        ...(paused === undefined ? {} : { paused }),
        selector: { matchLabels: { app: 'd' } },
        template: {
          metadata: { labels: { app: 'd' } },
          spec: { containers: [{ name: 'worker', image: 'none', imagePullPolicy: 'Never' }] },
        },
      },
    });
    const apply = (body: RawDeployment, fieldManager = 'muster-workerpool') =>
      api.client.apply<RawDeployment>(resources.deployments, body, { fieldManager });

    it('an identical apply changes nothing, not even the version', async () => {
      const first = await applyConfigMap(api.client, namespace, 'a', '1');
      const second = await applyConfigMap(api.client, namespace, 'a', '1');
      expect(second.metadata.resourceVersion).to.equal(first.metadata.resourceVersion);
    });

    it('replicas left out by their only owner fall back to 1: so the template never mentions them', async () => {
      await apply(deployment(4));
      expect((await apply(deployment())).spec?.replicas).to.equal(1);
    });

    it('replicas written through /scale stay when the template is applied again', async () => {
      await apply(deployment(undefined, true));
      const scaled = await api.client.scale(resources.deployments, namespace, 'd', 6, {
        fieldManager: 'muster-scaler',
      });
      expect(scaled.replicas).to.equal(6);
      const after = await apply(deployment());
      expect(after.spec?.replicas).to.equal(6);
      expect(after.spec?.paused).to.equal(undefined, 'paused is given up by the applier that owned it');
    });

    it('zero replicas through /scale are zero, and attributed to the scaler', async () => {
      await apply(deployment(undefined, true));
      const scaled = await api.client.scale(resources.deployments, namespace, 'd', 0, {
        fieldManager: 'muster-scaler',
      });
      expect(scaled.replicas).to.equal(0);
      const stored = await api.client.get<RawDeployment>(resources.deployments, namespace, 'd');
      expect(stored.spec?.replicas).to.equal(0);
      const owner = stored.metadata.managedFields?.find((each) => each.manager === 'muster-scaler');
      expect(owner?.subresource).to.equal('scale');
      expect(JSON.stringify(owner?.fieldsV1)).to.contain('f:replicas');
      expect(isAtLeast(stored.metadata.resourceVersion ?? '', scaled.resourceVersion)).to.equal(true);
    });

    it('a paused Deployment starts no pod, whatever its replicas', async () => {
      await apply(deployment(undefined, true));
      await eventually(async () => {
        const { status } = await api.client.get<RawDeployment>(resources.deployments, namespace, 'd');
        expect(status?.observedGeneration).to.equal(1);
      });
      expect((await api.client.list(resources.replicaSets, { namespace })).items).to.deep.equal([]);
    });

    it('two managers share a map, and without force a third is told whose it is', async () => {
      const body = (data: Record<string, string>) => ({ metadata: { namespace, name: 'a' }, data }) as RawConfigMap;
      const write = (manager: string, data: Record<string, string>, force?: boolean) =>
        api.client.apply<RawConfigMap>(resources.configMaps, body(data), {
          fieldManager: manager,
          ...(force === undefined ? {} : { force }),
        });
      await write('one', { a: '1' });
      expect((await write('two', { b: '1' })).data).to.deep.equal({ a: '1', b: '1' });
      const error = await failureOf(write('two', { a: '2', b: '1' }, false));
      expect(error.kind).to.equal('conflict');
      expect(error.message).to.contain('"one"');
      expect((await write('two', { b: '2' })).data).to.deep.equal({ a: '1', b: '2' });
    });

    it('a dry run answers as if, and changes nothing', async () => {
      const options = { fieldManager: 'test', dryRun: true };
      const body = { metadata: { namespace, name: 'ghost' } } as KubeObject;
      expect((await api.client.apply<KubeObject>(resources.configMaps, body, options)).metadata.uid).to.be.a('string');
      expect((await failureOf(api.client.get(resources.configMaps, namespace, 'ghost'))).kind).to.equal('notFound');
    });
  });

  describe('lists and watches', () => {
    const watch = (resourceVersion: string, serverTimeoutSeconds = 1) => {
      const events: WatchEvent[] = [];
      const stop = new AbortController();
      const ended: Promise<WatchEnd> = runWatch({
        transport: api.client.transport,
        clock: systemClock,
        resource: resources.configMaps,
        namespace,
        ...{ resourceVersion, serverTimeoutSeconds, sendsInitialEvents: false },
        inactivityMs: 60_000,
        signal: stop.signal,
        onEvent: (event) => void events.push(event),
      });
      return { events, stop, ended };
    };

    it('pages a list with limit and continue, all pages of one version', async () => {
      for (let count = 0; count < 5; count += 1) await applyConfigMap(api.client, namespace, `c${count}`, '1');
      const first = await api.client.list<RawConfigMap>(resources.configMaps, { namespace, limit: 2 });
      expect(first.items).to.have.length(2);
      const token = first.metadata.continue;
      const second = await api.client.list<RawConfigMap>(resources.configMaps, {
        namespace,
        limit: 10,
        continue: token,
      });
      expect(second.items.length + 2).to.be.at.least(5);
      expect(second.metadata.resourceVersion).to.equal(first.metadata.resourceVersion);
    });

    it('list items carry neither apiVersion nor kind, and every version is a growing integer', async () => {
      const before = (await applyConfigMap(api.client, namespace, 'a', '1')).metadata.resourceVersion ?? '';
      const list = await api.client.list<RawConfigMap>(resources.configMaps, { namespace, resourceVersion: '0' });
      expect(list.items[0]).to.not.have.any.keys('kind', 'apiVersion');
      const after = (await applyConfigMap(api.client, namespace, 'a', '2')).metadata.resourceVersion ?? '';
      expect(before).to.match(/^\d+$/);
      expect([isAtLeast(after, before), isAtLeast(before, after)]).to.deep.equal([true, false]);
    });

    it('closes a watch cleanly at the time asked for', async () => {
      const { metadata } = await api.client.list(resources.configMaps, { namespace });
      expect(await watch(metadata.resourceVersion ?? '').ended).to.deep.equal({ kind: 'closed', idle: false });
    });

    it('says that a version is too old with 410, in a stream whose status is 200, after it was restarted', async () => {
      const old = (await applyConfigMap(api.client, namespace, 'a', '1')).metadata.resourceVersion ?? '';
      for (const value of ['2', '3', '4']) await applyConfigMap(api.client, namespace, 'a', value);
      await api.cluster.kill('kube-apiserver');
      await api.cluster.start('kube-apiserver'); // Its cache begins anew, after what we ask for.
      await eventually(async () => expect(await watch(old).ended).to.deep.equal({ kind: 'expired' }));
    });

    it('says that a version is from the future with a cause that tells it from other timeouts', async () => {
      const error = await failureOf(api.client.list(resources.configMaps, { namespace, resourceVersion: '999999999' }));
      expect(error.kind).to.equal('timeout');
      expect(error.causes).to.include('ResourceVersionTooLarge');
    });

    it('sends bookmarks before it closes a watch, so that a quiet kind keeps up with a busy cluster', async () => {
      let count = 0;
      // Often, not always: nothing may depend on a single one.
      await eventually(
        async () => {
          const { metadata } = await api.client.list(resources.configMaps, { namespace });
          const { events, ended } = watch(metadata.resourceVersion ?? '', 5);
          const elsewhere = await api.client.create<RawConfigMap>(resources.configMaps, 'default', {
            metadata: { name: `busy-${namespace}-${(count += 1)}` },
          });
          expect(await ended).to.deep.equal({ kind: 'closed', idle: false });
          const last = events.at(-1);
          expect(last?.type).to.equal('bookmark');
          expect(isAtLeast(last?.resourceVersion ?? '', elsewhere.metadata.resourceVersion ?? '')).to.equal(true);
        },
        { timeoutMs: 30_000 },
      );
    });
  });

  describe('times and events', () => {
    it('a Lease takes microseconds and refuses milliseconds', async () => {
      const lease = (renewTime: string) =>
        api.client.create<RawLease>(resources.leases, namespace, { metadata: { name: 'l' }, spec: { renewTime } });
      expect((await failureOf(lease('2026-01-01T00:00:00.123Z'))).kind).to.equal('badRequest');
      expect((await lease('2026-01-01T00:00:00.123000Z')).spec?.renewTime).to.equal('2026-01-01T00:00:00.123000Z');
    });

    it('takes our events, notes of any length, once each; and one that it refuses hurts nobody', async () => {
      const recorder = createEventRecorder({
        client: api.client,
        clock: systemClock,
        log: silentLog,
        metrics: api.metrics,
        component: 'muster.dev/operator',
        instance: 'test',
      });
      const { metadata } = await applyConfigMap(api.client, namespace, 'a', '1');
      const target = { resource: resources.configMaps, namespace, name: 'a', uid: metadata.uid };
      recorder.record(target, { type: 'Normal', reason: 'Created', action: 'Create', note: 'made' });
      recorder.record(target, { type: 'Normal', reason: 'Created', action: 'Create', note: 'made' });
      recorder.record(target, { type: 'Warning', reason: 'Long', note: 'ü'.repeat(5000) });
      recorder.record({ ...target, namespace: 'no-such-namespace' }, { type: 'Normal', reason: 'Lost', note: 'x' });
      await recorder.idle();
      const { items } = await api.client.list<RawEvent>(resources.events, { namespace });
      const ours = items.filter((each) => each.reportingController === 'muster.dev/operator');
      expect(ours.map((each) => each.reason).sort()).to.deep.equal(['Created', 'Long']);
      const created = ours.find((each) => each.reason === 'Created');
      expect(created).to.include({ note: 'made', action: 'Create', reportingInstance: 'test' });
      expect(created?.regarding).to.include({ kind: 'ConfigMap', name: 'a', uid: metadata.uid });
      expect(await api.registry.metrics()).to.contain('event_recorder_dropped_total{why="refused"} 1');
    });
  });
});

async function failureOf(promise: Promise<unknown>): Promise<KubeError> {
  const outcome = await promise.then(
    () => 'no error',
    (err: unknown) => err,
  );
  if (!isKubeError(outcome)) throw new Error(`wanted a KubeError, got ${String(outcome)}`);
  return outcome;
}
