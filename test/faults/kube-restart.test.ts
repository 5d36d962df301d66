// The API server and etcd killed under a running informer and a running client, and started again. client-node's
// informer is silent for ever after this; ours must know of everything within seconds, and writes must go on.
import { expect } from 'chai';
import { createInformer, type Informer } from '../../operator/kube/informer.ts';
import { isKubeError } from '../../operator/kube/errors.ts';
import { resources, type RawConfigMap } from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import {
  applyConfigMap,
  deleteConfigMap,
  startApiServer,
  untilWritable,
  type TestApiServer,
} from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { silentLog } from '../support/silentLog.ts';

describe('client and informer, while the control plane dies and comes back', () => {
  let api: TestApiServer;
  let namespace: string;
  let stop: AbortController;
  let running: Promise<void>;
  let informer: Informer<RawConfigMap>;
  let seen: string[];

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    namespace = await api.namespace();
    stop = new AbortController();
    seen = [];
    await applyConfigMap(api.client, namespace, 'old', '1');
    await applyConfigMap(api.client, namespace, 'doomed', '1');
    informer = createInformer<RawConfigMap>({
      client: api.client,
      resource: resources.configMaps,
      namespace,
      transform: (raw) => raw as RawConfigMap,
      clock: systemClock,
      log: silentLog,
      metrics: api.metrics, // Limits as in production: this is about what a user would see.
    });
    informer.onChange((change) => void seen.push(`${change.type} ${change.object.metadata.name}`));
    running = informer.run(stop.signal);
    await informer.synced();
  });
  afterEach(async () => {
    stop.abort();
    await running;
  });

  const wantAlive = async (): Promise<void> => {
    await untilWritable(api.client, namespace);
    await deleteConfigMap(api.client, namespace, 'doomed');
    await applyConfigMap(api.client, namespace, 'new', '1');
    await eventually(() => expect(seen).to.include.members(['deleted doomed', 'added new']), { timeoutMs: 40_000 });
    const real = await api.client.list<RawConfigMap>(resources.configMaps, { namespace });
    const names = (items: readonly RawConfigMap[]): (string | undefined)[] =>
      items.map((each) => each.metadata.name).sort();
    expect(names(informer.list())).to.deep.equal(names(real.items));
    expect(seen.filter((each) => each === 'added old')).to.have.length(1);
  };

  it('API server killed and started again', async () => {
    await api.cluster.kill('kube-apiserver');
    const error: unknown = await api.client
      .get(resources.namespaces, undefined, 'default')
      .catch((err: unknown) => err);
    expect(isKubeError(error, 'transport')).to.equal(true);
    expect(informer.get(`${namespace}/old`)).to.not.equal(undefined, 'the cache serves while the server is away');
    await api.cluster.start('kube-apiserver');
    await wantAlive();
  });

  it('API server killed three times in a row', async () => {
    for (let count = 0; count < 3; count += 1) {
      await api.cluster.kill('kube-apiserver');
      await api.cluster.start('kube-apiserver');
    }
    await wantAlive();
  });

  it('etcd killed and started again', async () => {
    await api.cluster.kill('etcd');
    const hasty = api.connect(api.kubeConfig, { limits: { timeoutMs: 300, maxRetries: 1 } });
    const error: unknown = await applyConfigMap(hasty.client, namespace, 'lost', '1').catch((err: unknown) => err);
    expect(isKubeError(error, 'unavailable', 'timeout', 'transport')).to.equal(true, String(error));
    await api.cluster.start('etcd');
    await wantAlive();
  });

  it('etcd and API server killed together', async () => {
    await Promise.all([api.cluster.kill('etcd'), api.cluster.kill('kube-apiserver')]);
    await api.cluster.start('etcd');
    await api.cluster.start('kube-apiserver');
    await wantAlive();
  });

  it('API server stopped without closing its connections (SIGSTOP), then going on', async () => {
    await api.cluster.kill('kube-apiserver', 'SIGSTOP');
    const hasty = api.connect(api.kubeConfig, { limits: { timeoutMs: 300, maxRetries: 1 } });
    const error: unknown = await hasty.client
      .get(resources.namespaces, undefined, 'default')
      .catch((err: unknown) => err);
    expect(isKubeError(error, 'timeout')).to.equal(true, String(error));
    await api.cluster.kill('kube-apiserver', 'SIGCONT');
    await wantAlive();
  });
});
