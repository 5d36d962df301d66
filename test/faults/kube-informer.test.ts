// Every fault that a watch can meet, through a proxy before a real API server. client-node's informer stops for good in
// most of these rows; ours must end each of them with a cache equal to the server's and every change delivered once.
import { expect } from 'chai';
import type { RawConfigMap } from '../../operator/kube/types.ts';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { isList, isWatch, statusBody } from '../support/faultProxy.ts';
import { createInformerRig, type InformerRig } from '../support/informerRig.ts';

describe('informer, through a faulty network', () => {
  let api: TestApiServer;
  let rig: InformerRig;

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    rig = await createInformerRig(api);
  });
  afterEach(() => rig.dispose());

  it('lists again after a watch is answered 410, and delivers what was deleted meanwhile', async () => {
    await rig.put('a', '1');
    await rig.put('b', '1');
    const informer = await rig.start();
    const heal = rig.proxy.fault({ kind: 'answer', status: 410, body: statusBody(410, 'Expired') }, { match: isWatch });
    const unlist = rig.proxy.fault({ kind: 'answer', status: 503 }, { match: isList });
    rig.proxy.endAnswers();
    await eventually(() => rig.watches() >= 2 && rig.lists() >= 2);
    await rig.remove('a');
    await rig.put('b', '2');
    heal();
    unlist();
    await eventually(() => expect(rig.seen).to.include.members(['deleted a=1', 'updated b=2']));
    await rig.wantAlive(informer);
  });

  it('lists again after an in-band ERROR 410', async () => {
    await rig.put('a', '1');
    const informer = await rig.start();
    const listed = rig.lists();
    const line = `${JSON.stringify({ type: 'ERROR', object: JSON.parse(statusBody(410, 'Expired')) as unknown })}\n`;
    rig.proxy.fault({ kind: 'inject', text: line, thenEnd: false }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() => rig.lists() === listed + 1);
    await rig.remove('a');
    await eventually(() => expect(rig.seen).to.include('deleted a=1'));
    await rig.wantAlive(informer);
  });

  it('lists with the newest version after the API server says that ours is from the future', async () => {
    const informer = await rig.start();
    const body = JSON.stringify({
      ...(JSON.parse(statusBody(504, 'Timeout', 'Too large resource version: 9, current: 5')) as object),
      details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }] },
    });
    rig.proxy.fault({ kind: 'answer', status: 504, body }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() =>
      expect(rig.proxy.requests.filter(isList).at(-1)?.query.has('resourceVersion')).to.equal(false),
    );
    await rig.wantAlive(informer);
  });

  for (const status of [500, 403, 401, 503]) {
    it(`goes on after watches are answered ${status}`, async () => {
      await rig.put('a', '1');
      const informer = await rig.start();
      rig.proxy.fault({ kind: 'answer', status, body: statusBody(status, 'Nope') }, { match: isWatch, times: 3 });
      rig.proxy.endAnswers();
      await eventually(() => rig.watches() >= 5);
      await rig.put('a', '2');
      await eventually(() => expect(rig.seen).to.include('updated a=2'));
      await rig.wantAlive(informer);
    });
  }

  it('waits as long as a 429 asks, then watches again from the same version without listing', async () => {
    await rig.put('a', '1');
    const informer = await rig.start();
    const version = informer.resourceVersion();
    const [listed, watched] = [rig.lists(), rig.watches()];
    rig.proxy.fault(
      { kind: 'answer', status: 429, headers: { 'retry-after': '1' }, body: statusBody(429, 'TooManyRequests') },
      { match: isWatch, times: 1 },
    );
    rig.proxy.endAnswers();
    await eventually(() => rig.watches() === watched + 2);
    const [refused, again] = rig.proxy.requests.filter(isWatch).slice(-2);
    expect((again?.atMs ?? 0) - (refused?.atMs ?? 0)).to.be.at.least(1000);
    expect(again?.query.get('resourceVersion')).to.equal(version);
    expect(rig.lists()).to.equal(listed);
    await rig.wantAlive(informer);
  });

  it('resumes at the same version after the connection is reset in mid-stream, even in the middle of a line', async () => {
    await rig.put('a', '1');
    const informer = await rig.start();
    const listed = rig.lists();
    rig.proxy.fault({ kind: 'reset', afterBytes: 100 }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() => rig.watches() === 2);
    await rig.put('a', '2'); // Its line is cut after 100 bytes.
    await eventually(() => rig.watches() === 3);
    await eventually(() => expect(rig.seen).to.include('updated a=2'));
    expect(rig.lists()).to.equal(listed, 'a reset is no reason to list');
    await rig.wantAlive(informer);
  });

  it('waits while the API server refuses connections, and resumes at the same version', async () => {
    await rig.put('a', '1');
    const informer = await rig.start();
    const listed = rig.lists();
    await rig.proxy.refuse(true);
    await rig.put('a', '2');
    const before = sum((await api.metrics.watchFailures.get()).values);
    await eventually(async () => sum((await api.metrics.watchFailures.get()).values) >= before + 3);
    await rig.proxy.refuse(false);
    await eventually(() => expect(rig.seen).to.include('updated a=2'));
    expect(rig.lists()).to.equal(listed);
    await rig.wantAlive(informer);
  });

  it('tries the first list until it works, and says so by hasSynced', async () => {
    await rig.put('a', '1');
    const answers = [
      { kind: 'answer', status: 500 },
      { kind: 'answer', status: 200, body: '<html>sign in</html>' },
      { kind: 'answer', status: 403, body: statusBody(403, 'Forbidden') },
      { kind: 'reset', afterBytes: 50 },
      { kind: 'loseAnswer' },
    ] as const;
    for (const fault of answers) rig.proxy.fault(fault, { match: isList, times: 1 });
    const hold = rig.proxy.fault({ kind: 'answer', status: 503 }, { match: isList });
    const informer = rig.run();
    await eventually(() => rig.lists() > answers.length);
    expect(informer.hasSynced()).to.equal(false);
    expect(rig.seen).to.deep.equal([]);
    hold();
    await informer.synced();
    expect(rig.seen).to.deep.equal(['added a=1']);
    await rig.wantAlive(informer);
  });

  it('rejects synced when its signal aborts first', async () => {
    rig.proxy.fault({ kind: 'answer', status: 500 }, { match: isList });
    const informer = rig.run();
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
    await rig.put('a', '1');
    const informer = await rig.start({ limits: { baseMs: 60_000, maxMs: 60_000 } }); // Any backoff would fail the test.
    const listed = rig.lists();
    for (const value of ['2', '3', '4']) {
      const watched = rig.watches();
      rig.proxy.endAnswers();
      await eventually(() => rig.watches() === watched + 1);
      await rig.put('a', value);
      await eventually(() => expect(rig.seen).to.include(`updated a=${value}`));
    }
    expect(rig.lists()).to.equal(listed);
    await rig.wantAlive(informer);
  });

  it('does not hammer a server that closes every watch at once', async () => {
    await rig.put('a', '1');
    rig.proxy.fault({ kind: 'end', afterBytes: 0 }, { match: isWatch });
    rig.run({ limits: { baseMs: 200, maxMs: 60_000, jitter: 0, shortWatchMs: 60_000 } });
    await eventually(() => rig.watches() === 3);
    const at = rig.proxy.requests.filter(isWatch).map((each) => each.atMs);
    const gaps = at.slice(1).map((ms, index) => ms - (at[index] ?? 0));
    expect(gaps[0]).to.be.at.least(200);
    expect(gaps[1]).to.be.at.least(400, 'the wait doubles');
  });

  it('does not hammer a server that sends one event per connection', async () => {
    await rig.put('a', '1');
    rig.proxy.fault({ kind: 'end', afterBytes: 200 }, { match: isWatch });
    const informer = await rig.start({ limits: { baseMs: 100, maxMs: 60_000, jitter: 0, shortWatchMs: 60_000 } });
    for (const value of ['2', '3', '4']) {
      const watched = rig.watches();
      await rig.put('a', value);
      await eventually(() => rig.watches() > watched);
    }
    const at = rig.proxy.requests.filter(isWatch).map((each) => each.atMs);
    expect((at[3] ?? 0) - (at[0] ?? 0)).to.be.at.least(100 + 200 + 400);
    expect(informer.hasSynced()).to.equal(true);
  });

  it('outlives handlers and transforms that throw, and tells the other handlers', async () => {
    const informer = await rig.start({
      firstHandler: () => {
        throw new Error('a bug in a handler');
      },
      transform: (raw) => {
        const object = raw as RawConfigMap;
        if (object.data?.['value'] === 'poison') throw new Error('cannot read this');
        return object;
      },
    });
    await rig.put('a', '1');
    await eventually(() => expect(rig.seen).to.include('added a=1'));
    await rig.put('a', 'poison');
    await rig.put('b', '1');
    await eventually(() => expect(rig.seen).to.include('added b=1'));
    expect(informer.get(`${rig.namespace}/a`)?.data).to.deep.equal({ value: '1' }, 'the last good record stays');
    expect(rig.lists()).to.equal(1);
  });

  it('restarts the watch after a line that is not JSON', async () => {
    await rig.put('a', '1');
    const informer = await rig.start();
    rig.proxy.fault({ kind: 'inject', text: '{"type":"ADD\n', thenEnd: false }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() => rig.watches() === 3);
    await rig.wantAlive(informer);
  });

  it('asks for bookmarks and a time limit of five to ten minutes, and resumes at the last bookmark', async () => {
    const informer = await rig.start({ limits: { watchMinSeconds: 300, watchMaxSeconds: 600 } });
    const first = rig.proxy.requests.find(isWatch);
    expect(first?.query.get('allowWatchBookmarks')).to.equal('true');
    expect(Number(first?.query.get('timeoutSeconds'))).to.be.within(300, 600);
    const bookmark = JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '123456789' } } });
    rig.proxy.fault({ kind: 'inject', text: `${bookmark}\n`, thenEnd: true }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() => expect(informer.resourceVersion()).to.equal('123456789'));
    await eventually(() =>
      expect(rig.proxy.requests.filter(isWatch).at(-1)?.query.get('resourceVersion')).to.equal('123456789'),
    );
    expect(rig.seen).to.deep.equal([], 'a bookmark is not a change');
  });

  it('keeps its selectors through every list and watch', async () => {
    await rig.put('in', '1', { team: 'a' });
    await rig.put('out', '1', { team: 'b' });
    await rig.start({ labelSelector: 'team=a' });
    rig.proxy.fault({ kind: 'answer', status: 410 }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() => rig.watches() >= 3);
    await rig.put('out', '2', { team: 'b' });
    await rig.put('in', '2', { team: 'a' });
    await eventually(() => expect(rig.seen).to.deep.equal(['added in=1', 'updated in=2']));
    for (const request of rig.proxy.requests) {
      expect(request.query.get('labelSelector')).to.equal('team=a');
      expect(request.query.get('fieldSelector')).to.equal('metadata.name!=kube-root-ca.crt');
    }
    await rig.put('in', '3', { team: 'c' });
    await eventually(() => expect(rig.seen.at(-1)).to.match(/^deleted in=/), { timeoutMs: 5000 });
  });

  it('delivers an object that was deleted and made anew unseen as deleted, then added', async () => {
    await rig.put('a', '1');
    await rig.start();
    const heal = rig.proxy.fault({ kind: 'answer', status: 410 }, { match: isWatch });
    const unlist = rig.proxy.fault({ kind: 'answer', status: 503 }, { match: isList });
    rig.proxy.endAnswers();
    await eventually(() => rig.lists() >= 2);
    await rig.remove('a');
    await rig.put('a', '2');
    heal();
    unlist();
    await eventually(() => expect(rig.seen).to.deep.equal(['added a=1', 'deleted a=1', 'added a=2']));
  });
});

function sum(values: readonly { value: number }[]): number {
  return values.reduce((total, each) => total + each.value, 0);
}
