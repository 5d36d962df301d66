// Every fault that a watch can meet, through a proxy before a real API server. client-node's informer stops for good in
// most of these rows; ours must end each of them with a cache equal to the server's and every change delivered once.
import { expect } from 'chai';
import type { KubeClient } from '../../operator/kube/client.ts';
import { createInformer, type Informer, type InformerChange } from '../../operator/kube/informer.ts';
import type { ReflectorLimits } from '../../operator/kube/reflector.ts';
import { resources, type RawConfigMap } from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { applyConfigMap, deleteConfigMap, startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { isList, isWatch, startFaultProxy, statusBody, type FaultProxy } from '../support/faultProxy.ts';
import { silentLog } from '../support/silentLog.ts';

/** Short, so that no test waits; `shortWatchMs` 0 where the test is not about it. */
const limits: Partial<ReflectorLimits> = { baseMs: 5, maxMs: 40, shortWatchMs: 0, inactivityMs: 30_000 };

describe('informer, through a faulty network', () => {
  let api: TestApiServer;
  let proxy: FaultProxy;
  let namespace: string;
  let stop: AbortController;
  let running: Promise<void>[];
  let seen: string[];

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());

  beforeEach(async () => {
    proxy = await startFaultProxy(api.cluster);
    namespace = await api.namespace();
    stop = new AbortController();
    running = [];
    seen = [];
  });
  afterEach(async () => {
    stop.abort();
    await Promise.all(running);
    await proxy.close();
  });

  const through = (limitsOfTransport = {}): KubeClient =>
    api.connect(proxy.kubeConfig(), { limits: { maxRetries: 0, ...limitsOfTransport } }).client;

  /** An informer over the ConfigMaps of the test's namespace that notes every change as "type name=value". */
  const build = (
    options: { client?: KubeClient; limits?: Partial<ReflectorLimits>; labelSelector?: string } = {},
  ): Informer<RawConfigMap> => {
    const informer = createInformer<RawConfigMap>({
      client: options.client ?? through(),
      resource: resources.configMaps,
      namespace,
      fieldSelector: 'metadata.name!=kube-root-ca.crt',
      ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
      transform: (raw) => raw as RawConfigMap,
      clock: systemClock,
      log: silentLog,
      metrics: api.metrics,
      limits: { ...limits, ...options.limits },
    });
    informer.onChange((change) => void seen.push(describeChange(change)));
    return informer;
  };
  const start = async (options: Parameters<typeof build>[0] = {}): Promise<Informer<RawConfigMap>> => {
    const informer = build(options);
    running.push(informer.run(stop.signal));
    await informer.synced();
    await eventually(() => proxy.openAnswers > 0); // Else there would be no watch yet for a fault to hit.
    return informer;
  };
  const lists = (): number => proxy.requests.filter(isList).length;
  const watches = (): number => proxy.requests.filter(isWatch).length;
  const put = (name: string, value: string, labels?: Record<string, string>): Promise<RawConfigMap> =>
    applyConfigMap(api.client, namespace, name, value, labels);
  const remove = (name: string): Promise<void> => deleteConfigMap(api.client, namespace, name);

  /** What every row ends with: the watch works, nothing came twice, the cache is the server's. */
  const wantAlive = async (informer: Informer<RawConfigMap>): Promise<void> => {
    await put('last', 'x');
    await eventually(() => expect(seen.at(-1)).to.equal('added last=x'));
    const real = await api.client.list<RawConfigMap>(resources.configMaps, {
      namespace,
      fieldSelector: 'metadata.name!=kube-root-ca.crt',
    });
    const versions = (items: readonly RawConfigMap[]): string[] =>
      items.map((each) => `${each.metadata.name}@${each.metadata.resourceVersion}`).sort();
    expect(versions(informer.list())).to.deep.equal(versions(real.items));
    expect(seen).to.deep.equal([...new Set(seen)], 'no change is delivered twice');
  };

  it('lists again after a watch is answered 410, and delivers what was deleted meanwhile', async () => {
    await put('a', '1');
    await put('b', '1');
    const informer = await start();
    const heal = proxy.fault({ kind: 'answer', status: 410, body: statusBody(410, 'Expired') }, { match: isWatch });
    const unlist = proxy.fault({ kind: 'answer', status: 503 }, { match: isList });
    proxy.endAnswers();
    await eventually(() => watches() >= 2 && lists() >= 2);
    await remove('a');
    await put('b', '2');
    heal();
    unlist();
    await eventually(() => expect(seen).to.include.members(['deleted a=1', 'updated b=2']));
    await wantAlive(informer);
  });

  it('lists again after an in-band ERROR 410', async () => {
    await put('a', '1');
    const informer = await start();
    const listed = lists();
    const line = `${JSON.stringify({ type: 'ERROR', object: JSON.parse(statusBody(410, 'Expired')) as unknown })}\n`;
    proxy.fault({ kind: 'inject', text: line, thenEnd: false }, { match: isWatch, times: 1 });
    proxy.endAnswers();
    await eventually(() => lists() === listed + 1);
    await remove('a');
    await eventually(() => expect(seen).to.include('deleted a=1'));
    await wantAlive(informer);
  });

  it('lists with the newest version after the API server says that ours is from the future', async () => {
    const informer = await start();
    const body = JSON.stringify({
      ...(JSON.parse(statusBody(504, 'Timeout', 'Too large resource version: 9, current: 5')) as object),
      details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }] },
    });
    proxy.fault({ kind: 'answer', status: 504, body }, { match: isWatch, times: 1 });
    proxy.endAnswers();
    await eventually(() => expect(proxy.requests.filter(isList).at(-1)?.query.has('resourceVersion')).to.equal(false));
    await wantAlive(informer);
  });

  for (const status of [500, 403, 401, 503]) {
    it(`goes on after watches are answered ${status}`, async () => {
      await put('a', '1');
      const informer = await start();
      proxy.fault({ kind: 'answer', status, body: statusBody(status, 'Nope') }, { match: isWatch, times: 3 });
      proxy.endAnswers();
      await eventually(() => watches() >= 5);
      await put('a', '2');
      await eventually(() => expect(seen).to.include('updated a=2'));
      await wantAlive(informer);
    });
  }

  it('waits as long as a 429 asks, then watches again from the same version without listing', async () => {
    await put('a', '1');
    const informer = await start();
    const version = informer.resourceVersion();
    const [listed, watched] = [lists(), watches()];
    proxy.fault(
      { kind: 'answer', status: 429, headers: { 'retry-after': '1' }, body: statusBody(429, 'TooManyRequests') },
      { match: isWatch, times: 1 },
    );
    proxy.endAnswers();
    await eventually(() => watches() === watched + 2);
    const [refused, again] = proxy.requests.filter(isWatch).slice(-2);
    expect((again?.atMs ?? 0) - (refused?.atMs ?? 0)).to.be.at.least(1000);
    expect(again?.query.get('resourceVersion')).to.equal(version);
    expect(lists()).to.equal(listed);
    await wantAlive(informer);
  });

  it('resumes at the same version after the connection is reset in mid-stream, even in the middle of a line', async () => {
    await put('a', '1');
    const informer = await start();
    const listed = lists();
    proxy.fault({ kind: 'reset', afterBytes: 100 }, { match: isWatch, times: 1 });
    proxy.endAnswers();
    await eventually(() => watches() === 2);
    await put('a', '2'); // Its line is cut after 100 bytes.
    await eventually(() => watches() === 3);
    await eventually(() => expect(seen).to.include('updated a=2'));
    expect(lists()).to.equal(listed, 'a reset is no reason to list');
    await wantAlive(informer);
  });

  it('waits while the API server refuses connections, and resumes at the same version', async () => {
    await put('a', '1');
    const informer = await start();
    const listed = lists();
    await proxy.refuse(true);
    await put('a', '2');
    const before = sum((await api.metrics.watchFailures.get()).values);
    await eventually(async () => sum((await api.metrics.watchFailures.get()).values) >= before + 3);
    await proxy.refuse(false);
    await eventually(() => expect(seen).to.include('updated a=2'));
    expect(lists()).to.equal(listed);
    await wantAlive(informer);
  });

  it('tries the first list until it works, and says so by hasSynced', async () => {
    await put('a', '1');
    const answers = [
      { kind: 'answer', status: 500 },
      { kind: 'answer', status: 200, body: '<html>sign in</html>' },
      { kind: 'answer', status: 403, body: statusBody(403, 'Forbidden') },
      { kind: 'reset', afterBytes: 50 },
      { kind: 'loseAnswer' },
    ] as const;
    for (const fault of answers) proxy.fault(fault, { match: isList, times: 1 });
    const hold = proxy.fault({ kind: 'answer', status: 503 }, { match: isList });
    const informer = build();
    running.push(informer.run(stop.signal));
    await eventually(() => lists() > answers.length);
    expect(informer.hasSynced()).to.equal(false);
    expect(seen).to.deep.equal([]);
    hold();
    await informer.synced();
    expect(seen).to.deep.equal(['added a=1']);
    await wantAlive(informer);
  });

  it('rejects synced when its signal aborts first', async () => {
    proxy.fault({ kind: 'answer', status: 500 }, { match: isList });
    const informer = build();
    running.push(informer.run(stop.signal));
    const patience = new AbortController();
    const waiting = informer.synced(patience.signal);
    patience.abort();
    const outcome = await waiting.then(
      () => 'synced',
      (err: unknown) => String(err),
    );
    expect(outcome).to.contain('configmaps were not listed');
  });

  it('watches again at once after a clean close, without listing', async () => {
    await put('a', '1');
    const informer = await start({ limits: { baseMs: 60_000, maxMs: 60_000 } }); // Any backoff would fail the test.
    const listed = lists();
    for (const value of ['2', '3', '4']) {
      const watched = watches();
      proxy.endAnswers();
      await eventually(() => watches() === watched + 1);
      await put('a', value);
      await eventually(() => expect(seen).to.include(`updated a=${value}`));
    }
    expect(lists()).to.equal(listed);
    await wantAlive(informer);
  });

  it('does not hammer a server that closes every watch at once', async () => {
    await put('a', '1');
    proxy.fault({ kind: 'end', afterBytes: 0 }, { match: isWatch });
    running.push(build({ limits: { baseMs: 200, maxMs: 60_000, jitter: 0, shortWatchMs: 60_000 } }).run(stop.signal));
    await eventually(() => watches() === 3);
    const at = proxy.requests.filter(isWatch).map((each) => each.atMs);
    const gaps = at.slice(1).map((ms, index) => ms - (at[index] ?? 0));
    expect(gaps[0]).to.be.at.least(200);
    expect(gaps[1]).to.be.at.least(400, 'the wait doubles');
  });

  it('does not hammer a server that sends one event per connection', async () => {
    await put('a', '1');
    proxy.fault({ kind: 'end', afterBytes: 200 }, { match: isWatch });
    const informer = await start({ limits: { baseMs: 100, maxMs: 60_000, jitter: 0, shortWatchMs: 60_000 } });
    for (const value of ['2', '3', '4']) {
      const watched = watches();
      await put('a', value);
      await eventually(() => watches() > watched);
    }
    const at = proxy.requests.filter(isWatch).map((each) => each.atMs);
    expect((at[3] ?? 0) - (at[0] ?? 0)).to.be.at.least(100 + 200 + 400);
    expect(informer.hasSynced()).to.equal(true);
  });

  it('ends a watch whose other side has vanished, and loses nothing', async () => {
    await put('a', '1');
    const client = through({ timeoutMs: 200, connectTimeoutMs: 200 });
    const informer = await start({ client, limits: { inactivityMs: 150 } });
    const listed = lists();
    proxy.blackhole(true);
    await put('a', '2');
    await remove('a');
    await put('b', '1');
    proxy.blackhole(false); // Connections of that time stay dead, as they do after a lost network path.
    await eventually(() => expect(seen).to.include.members(['updated a=2', 'deleted a=2', 'added b=1']));
    expect(lists()).to.equal(listed);
    await wantAlive(informer);
  });

  it('keeps a quiet watch open and re-watches a silent one without listing', async () => {
    const informer = await start({ limits: { inactivityMs: 100 } });
    const listed = lists();
    await eventually(() => watches() >= 4);
    expect(lists()).to.equal(listed);
    await wantAlive(informer);
  });

  it('outlives handlers and transforms that throw, and tells the other handlers', async () => {
    const client = through();
    const informer = createInformer<RawConfigMap>({
      client,
      resource: resources.configMaps,
      namespace,
      transform: (raw) => {
        const object = raw as RawConfigMap;
        if (object.data?.['value'] === 'poison') throw new Error('cannot read this');
        return object;
      },
      clock: systemClock,
      log: silentLog,
      metrics: api.metrics,
      limits,
    });
    informer.onChange(() => {
      throw new Error('a bug in a handler');
    });
    informer.onChange((change) => void seen.push(describeChange(change)));
    running.push(informer.run(stop.signal));
    await informer.synced();
    await put('a', '1');
    await eventually(() => expect(seen).to.include('added a=1'));
    await put('a', 'poison');
    await put('b', '1');
    await eventually(() => expect(seen).to.include('added b=1'));
    expect(informer.get(`${namespace}/a`)?.data).to.deep.equal({ value: '1' }, 'the last good record stays');
    expect(lists()).to.equal(1);
  });

  it('restarts the watch after a line that is not JSON', async () => {
    await put('a', '1');
    const informer = await start();
    proxy.fault({ kind: 'inject', text: '{"type":"ADD\n', thenEnd: false }, { match: isWatch, times: 1 });
    proxy.endAnswers();
    await eventually(() => watches() === 3);
    await wantAlive(informer);
  });

  it('asks for bookmarks and a time limit of five to ten minutes, and resumes at the last bookmark', async () => {
    const informer = await start({ limits: { watchMinSeconds: 300, watchMaxSeconds: 600 } });
    const first = proxy.requests.find(isWatch);
    expect(first?.query.get('allowWatchBookmarks')).to.equal('true');
    expect(Number(first?.query.get('timeoutSeconds'))).to.be.within(300, 600);
    const bookmark = JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '123456789' } } });
    proxy.fault({ kind: 'inject', text: `${bookmark}\n`, thenEnd: true }, { match: isWatch, times: 1 });
    proxy.endAnswers();
    await eventually(() => expect(informer.resourceVersion()).to.equal('123456789'));
    await eventually(() =>
      expect(proxy.requests.filter(isWatch).at(-1)?.query.get('resourceVersion')).to.equal('123456789'),
    );
    expect(seen).to.deep.equal([], 'a bookmark is not a change');
  });

  it('keeps its selectors through every list and watch', async () => {
    await put('in', '1', { team: 'a' });
    await put('out', '1', { team: 'b' });
    await start({ labelSelector: 'team=a' });
    proxy.fault({ kind: 'answer', status: 410 }, { match: isWatch, times: 1 });
    proxy.endAnswers();
    await eventually(() => watches() >= 3);
    await put('out', '2', { team: 'b' });
    await put('in', '2', { team: 'a' });
    await eventually(() => expect(seen).to.deep.equal(['added in=1', 'updated in=2']));
    for (const request of proxy.requests) {
      expect(request.query.get('labelSelector')).to.equal('team=a');
      expect(request.query.get('fieldSelector')).to.equal('metadata.name!=kube-root-ca.crt');
    }
    await put('in', '3', { team: 'c' });
    await eventually(() => expect(seen.at(-1)).to.match(/^deleted in=/), { timeoutMs: 5000 });
  });

  it('delivers an object that was deleted and made anew unseen as deleted, then added', async () => {
    await put('a', '1');
    await start();
    const heal = proxy.fault({ kind: 'answer', status: 410 }, { match: isWatch });
    const unlist = proxy.fault({ kind: 'answer', status: 503 }, { match: isList });
    proxy.endAnswers();
    await eventually(() => lists() >= 2);
    await remove('a');
    await put('a', '2');
    heal();
    unlist();
    await eventually(() => expect(seen).to.deep.equal(['added a=1', 'deleted a=1', 'added a=2']));
  });
});

function describeChange(change: InformerChange<RawConfigMap>): string {
  return `${change.type} ${change.object.metadata.name}=${change.object.data?.['value']}`;
}

function sum(values: readonly { value: number }[]): number {
  return values.reduce((total, each) => total + each.value, 0);
}
