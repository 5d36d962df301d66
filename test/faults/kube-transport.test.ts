// Requests through a faulty network before a real API server: what is sent again, what never is, how long anything may
// take, and that connections and credentials are kept and renewed when they should be.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { KubeConfig } from '@kubernetes/client-node';
import { isKubeError, type KubeError, type KubeErrorKind } from '../../operator/kube/errors.ts';
import { resources, type RawConfigMap, type RawNamespace } from '../../operator/kube/types.ts';
import type { TransportLimits } from '../../operator/kube/transport.ts';
import { applyConfigMap, startApiServer, type TestApiServer, type TestClient } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { startFaultProxy, statusBody, type FaultProxy, type SeenRequest } from '../support/faultProxy.ts';

describe('transport, through a faulty network', () => {
  let api: TestApiServer;
  let proxy: FaultProxy;
  let namespace: string;

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    proxy = await startFaultProxy(api.cluster);
    namespace = await api.namespace();
  });
  afterEach(() => proxy.close());

  const connect = (limits: Partial<TransportLimits> = {}): TestClient => api.connect(proxy.kubeConfig(), { limits });
  const get = ({ client }: TestClient, signal?: AbortSignal): Promise<RawNamespace> =>
    client.get(resources.namespaces, undefined, 'default', { signal });
  const create = ({ client }: TestClient, name: string): Promise<RawConfigMap> =>
    client.create(resources.configMaps, namespace, { metadata: { name } });
  const by = (method: string) => (request: SeenRequest) => request.method === method;
  const seen = (method: string): SeenRequest[] => proxy.requests.filter(by(method));

  it('keeps connections: two hundred requests, two handshakes at most', async () => {
    const connected = connect();
    for (let count = 0; count < 200; count += 1) await get(connected);
    expect(proxy.accepted).to.be.at.most(2); // The second begins while the first is still being put back.
  });

  it('opens no more connections than its limit, and serves all that wait', async () => {
    const connected = connect({ maxConnections: 4 });
    await Promise.all(Array.from({ length: 100 }, () => get(connected)));
    expect(proxy.accepted).to.be.at.most(4);
    expect(proxy.requests).to.have.length(100);
  });

  it('says who it is', async () => {
    await get(connect());
    expect(proxy.requests[0]?.headers['user-agent']).to.equal('muster/test');
  });

  const idempotent: Record<string, { method: string; run: (connected: TestClient) => Promise<unknown> }> = {
    'a get': { method: 'GET', run: get },
    'an apply': { method: 'PATCH', run: ({ client }) => applyConfigMap(client, namespace, 'a', '1') },
    'a delete': {
      method: 'DELETE',
      run: async ({ client }) => {
        await applyConfigMap(api.client, namespace, 'a', '1');
        await client.delete(resources.configMaps, namespace, 'a');
      },
    },
  };
  for (const [what, tc] of Object.entries(idempotent)) {
    it(`sends ${what} again after 500, 503, a reset and a lost connection`, async () => {
      const connected = connect({ maxRetries: 4 });
      proxy.fault(
        { kind: 'answer', status: 500, body: statusBody(500, 'InternalError') },
        { match: by(tc.method), times: 1 },
      );
      proxy.fault({ kind: 'answer', status: 503 }, { match: by(tc.method), times: 1 });
      proxy.fault(
        { kind: 'answer', status: 429, body: statusBody(429, 'TooManyRequests') },
        { match: by(tc.method), times: 1 },
      );
      if (tc.method !== 'DELETE') proxy.fault({ kind: 'loseAnswer' }, { match: by(tc.method), times: 1 });
      await tc.run(connected);
      expect(seen(tc.method)).to.have.length(tc.method === 'DELETE' ? 4 : 5);
      const retries = await connected.metrics.retries.get();
      expect(retries.values.reduce((total, each) => total + each.value, 0)).to.equal(seen(tc.method).length - 1);
    });
  }

  it('does not send a create again when its answer was lost: it may have happened', async () => {
    const connected = connect();
    proxy.fault({ kind: 'loseAnswer' }, { match: by('POST'), times: 1 });
    await wantKind('transport', create(connected, 'once'));
    expect(seen('POST')).to.have.length(1);
    expect((await api.client.get<RawConfigMap>(resources.configMaps, namespace, 'once')).metadata.name).to.equal(
      'once',
    );
  });

  it('does not send a create again after a 500', async () => {
    proxy.fault({ kind: 'answer', status: 500 }, { match: by('POST'), times: 1 });
    await wantKind('unavailable', create(connect(), 'once'));
    expect(seen('POST')).to.have.length(1);
  });

  it('sends a create again after a 429: the server did nothing', async () => {
    proxy.fault({ kind: 'answer', status: 429 }, { match: by('POST'), times: 2 });
    await create(connect(), 'twice-refused');
    expect(seen('POST')).to.have.length(3);
  });

  it('sends a create again after a refused connection: nothing was sent', async () => {
    const connected = connect({ maxRetries: 12, baseMs: 1 });
    await proxy.refuse(true);
    const creating = create(connected, 'later');
    await eventually(async () => (await connected.metrics.retries.get()).values.length > 0);
    await proxy.refuse(false);
    expect((await creating).metadata.name).to.equal('later');
  });

  it('waits as long as Retry-After says', async () => {
    proxy.fault({ kind: 'answer', status: 429, headers: { 'retry-after': '1' } }, { match: by('GET'), times: 1 });
    await get(connect());
    const [first, second] = seen('GET');
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).to.be.at.least(1000);
  });

  it('does not wait for a Retry-After beyond its limit, and says how long it would have been', async () => {
    proxy.fault({ kind: 'answer', status: 429, headers: { 'retry-after': '3600' } }, { match: by('GET') });
    const error = await wantKind('tooManyRequests', get(connect()));
    expect(error.retryAfterMs).to.equal(3_600_000);
    expect(seen('GET')).to.have.length(1);
  });

  it('gives up after its retries', async () => {
    proxy.fault({ kind: 'answer', status: 503 }, { match: by('GET') });
    await wantKind('unavailable', get(connect({ maxRetries: 2 })));
    expect(seen('GET')).to.have.length(3);
  });

  it('ends a request that nobody answers, also while connecting', async () => {
    const connected = connect({ timeoutMs: 300, maxRetries: 0 });
    await get(connected);
    proxy.blackhole(true);
    const startMs = performance.now();
    await wantKind('timeout', get(connected)); // On the kept connection.
    await wantKind('timeout', get(connected)); // While making a new one, which takes 5 s to give up by itself.
    expect(performance.now() - startMs).to.be.below(4000);
  });

  it('gives up all its connections when one is found dead', async () => {
    const connected = connect({ timeoutMs: 500, maxRetries: 0 });
    await Promise.all(Array.from({ length: 8 }, () => get(connected)));
    expect(proxy.accepted).to.be.at.least(2);
    proxy.blackhole(true);
    proxy.blackhole(false); // What was open stays dead, as after a lost network path; new connections work.
    await wantKind('timeout', get(connected));
    for (let count = 0; count < 8; count += 1) await get(connected);
  });

  it('ends a request whose answer is cut, stops in the middle, or comes too late', async () => {
    const big = 'x'.repeat(100_000);
    await applyConfigMap(api.client, namespace, 'big', big);
    const connected = connect({ timeoutMs: 300, maxRetries: 0 });
    proxy.fault({ kind: 'reset', afterBytes: 1000 }, { match: by('GET'), times: 1 });
    await wantKind('transport', connected.client.get(resources.configMaps, namespace, 'big'));
    proxy.fault({ kind: 'stall', afterBytes: 1000 }, { match: by('GET'), times: 1 });
    await wantKind('timeout', connected.client.get(resources.configMaps, namespace, 'big'));
    proxy.fault({ kind: 'delay', ms: 1000 }, { match: by('GET'), times: 1 });
    await wantKind('timeout', connected.client.get(resources.configMaps, namespace, 'big'));
  });

  it('ends when its caller aborts, also while waiting to try again', async () => {
    const connected = connect({ maxRetryAfterMs: 60_000 });
    proxy.fault({ kind: 'answer', status: 429, headers: { 'retry-after': '50' } }, { match: by('GET') });
    const patience = new AbortController();
    const waiting = wantKind('aborted', get(connected, patience.signal));
    await eventually(async () => (await connected.metrics.retries.get()).values.length > 0); // It waits for its next try.
    patience.abort();
    await waiting;
    await wantKind('aborted', get(connected, AbortSignal.abort()));
  });

  it('says so when something else answers', async () => {
    proxy.fault({ kind: 'answer', status: 200, body: '<html>sign in</html>' }, { match: by('GET'), times: 1 });
    const error = await wantKind('transport', get(connect()));
    expect(error.message).to.contain('not JSON').and.to.contain('sign in');
  });

  it('counts requests by code and method, and retries', async () => {
    const connected = connect();
    proxy.fault({ kind: 'answer', status: 503 }, { match: by('GET'), times: 1 });
    await get(connected);
    const text = await connected.registry.metrics();
    expect(text).to.contain('rest_client_requests_total{code="503",method="GET"} 1');
    expect(text).to.contain('rest_client_requests_total{code="200",method="GET"} 1');
    expect(text).to.contain('rest_client_request_retries_total{code="503",verb="GET"} 1');
    expect(text).to.contain('rest_client_request_duration_seconds_count{verb="GET"} 2');
  });

  it('lets no more requests through than a configured rate', async () => {
    const connected = api.connect(proxy.kubeConfig(), { throttle: { requestsPerSecond: 20, burst: 1 } });
    await Promise.all(Array.from({ length: 5 }, () => get(connected)));
    const at = seen('GET').map((each) => each.atMs);
    expect((at[4] ?? 0) - (at[0] ?? 0)).to.be.at.least(150); // Four times 50 ms, less what the first was late.
    expect(await connected.registry.metrics()).to.contain(
      'rest_client_rate_limiter_duration_seconds_count{verb="GET"} 4',
    );
  });

  describe('with credentials in files', () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'muster-credentials-'));
    });
    afterEach(() => rm(folder, { recursive: true }));

    /** As a pod has it: CA and token are files that the kubelet replaces. */
    const inPod = (): KubeConfig => {
      const config = new KubeConfig();
      config.loadFromClusterAndUser(
        { name: 'c', server: proxy.url, caFile: join(folder, 'ca.crt'), skipTLSVerify: false },
        { name: 'u', authProvider: { name: 'tokenFile', config: { tokenFile: join(folder, 'token') } } },
      );
      return config;
    };

    it('takes a rotated CA without a restart', async () => {
      await writeFile(join(folder, 'token'), `${api.cluster.adminToken}\n`);
      await writeFile(join(folder, 'ca.crt'), 'not a certificate');
      const connected = api.connect(inPod(), { limits: { maxRetries: 0 } });
      await wantKind('transport', get(connected));
      await writeFile(join(folder, 'ca.crt'), api.cluster.authorityPem);
      await get(connected);
      await get(connected);
      const accepted = proxy.accepted;
      await writeFile(join(folder, 'ca.crt'), `${api.cluster.authorityPem}\n`);
      await get(connected);
      expect(proxy.accepted).to.equal(accepted + 1, 'a changed CA needs a new handshake');
    });

    it('says what is wrong while a credential cannot be read, and goes on when it can', async () => {
      await writeFile(join(folder, 'ca.crt'), api.cluster.authorityPem);
      const connected = api.connect(inPod(), { limits: { maxRetries: 0 } });
      const error = await wantKind('transport', get(connected));
      expect(error.message).to.contain('credentials').and.to.contain('token');
      await writeFile(join(folder, 'token'), 'wrong');
      const again = api.connect(inPod(), { limits: { maxRetries: 0 } });
      await wantKind('unauthorized', get(again));
      await writeFile(join(folder, 'token'), api.cluster.adminToken);
      await get(connected);
    });
  });
});

async function wantKind(kind: KubeErrorKind, promise: Promise<unknown>): Promise<KubeError> {
  const outcome: unknown = await promise.then(
    () => 'no error',
    (err: unknown) => err,
  );
  if (!isKubeError(outcome)) throw new Error(`wanted a KubeError, got ${String(outcome)}`);
  expect(outcome.kind, outcome.message).to.equal(kind);
  return outcome;
}
