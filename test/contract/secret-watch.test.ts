/** Secrets of pools, from a real API server: what changed is noticed, and only whoever uses it is looked at. */
import { expect } from 'chai';
import type { WorkerPool } from '../../operator/api/v1alpha1/workerpool.ts';
import { createSecretReader, type SecretReader } from '../../operator/controllers/secrets.ts';
import { createSecretWatch } from '../../operator/controllers/secretWatch.ts';
import { resources } from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { silentLog } from '../support/silentLog.ts';

const never = new AbortController().signal;

describe('the Secrets of pools', () => {
  let api: TestApiServer;
  let namespace: string;
  let secrets: SecretReader;

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    namespace = await api.namespace();
    secrets = createSecretReader({ client: api.client, clock: systemClock });
  });

  const put = async (name: string, url: string): Promise<void> => {
    await api.client.delete(resources.secrets, namespace, name).catch(() => undefined);
    await api.client.create(resources.secrets, namespace, { metadata: { name }, stringData: { url } });
  };
  const read = async (name: string): Promise<string> => {
    const value = await secrets.read(namespace, name, 'url', never);
    return value.kind === 'ok' ? value.value : value.reason;
  };
  const refresh = (name: string): Promise<boolean> => secrets.refresh(namespace, name, never);

  it('are read again: one that changed, went or came is told once, and its value is the new one', async () => {
    await put('broker', 'redis://one');
    expect(await read('broker')).to.equal('redis://one');
    expect(await refresh('broker')).to.equal(false);
    await put('broker', 'redis://two');
    expect(await read('broker')).to.equal('redis://one');
    expect(await refresh('broker')).to.equal(true);
    expect(await read('broker')).to.equal('redis://two');
    expect(await refresh('broker')).to.equal(false);
    await api.client.delete(resources.secrets, namespace, 'broker');
    expect(await refresh('broker')).to.equal(true);
    expect(await read('broker')).to.equal('SecretMissing');
    await put('broker', 'redis://three');
    expect(await refresh('broker')).to.equal(true);
  });

  it('are told as changed although another reader came first', async () => {
    await put('broker', 'redis://one');
    expect(await read('broker')).to.equal('redis://one');
    await put('broker', 'redis://two');
    await api.client.delete(resources.secrets, namespace, 'broker');
    expect(await refresh('broker')).to.equal(true);
    expect(await read('broker')).to.equal('SecretMissing');
    await put('broker', 'redis://two');
    // What is missing is believed for two seconds; then a pool reads it by itself.
    await eventually(async () => expect(await read('broker')).to.equal('redis://two'), { timeoutMs: 10_000 });
    expect(await refresh('broker')).to.equal(true);
  });

  it('have their pools looked at, and no others', async () => {
    await put('mine', 'redis://one');
    await put('other', 'redis://one');
    const pool = (name: string, secret: string): WorkerPool =>
      ({
        metadata: { name, namespace },
        spec: { broker: { urlFrom: { secretKeyRef: { name: secret, key: 'url' } } } },
      }) as WorkerPool;
    const pools = [pool('a', 'mine'), pool('b', 'mine'), pool('c', 'other')];
    const looked: string[] = [];
    let rounds = 0;
    const watch = createSecretWatch({
      pools: () => ((rounds += 1), pools),
      ...{ secrets, clock: systemClock, log: silentLog, everyMs: 20 },
      enqueue: (key, of) => looked.push(`${key} ${of}`),
    });
    await read('mine');
    await read('other');
    const stop = new AbortController();
    const running = watch.run(stop.signal);
    await eventually(() => rounds > 2);
    expect(looked).to.deep.equal([]);
    await put('mine', 'redis://two');
    await eventually(() => looked.length > 0);
    const after = rounds;
    await eventually(() => rounds > after + 2);
    stop.abort();
    await running;
    expect([...new Set(looked)]).to.deep.equal([`${namespace}/a ${namespace}`, `${namespace}/b ${namespace}`]);
  });
});
