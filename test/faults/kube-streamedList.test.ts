// A collection that comes at the beginning of its watch, and what becomes of it when that fails.
import { expect } from 'chai';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { isWatch, statusBody, type SeenRequest } from '../support/faultProxy.ts';
import { createInformerRig, type InformerRig, type RigOptions } from '../support/informerRig.ts';

const streams = (request: SeenRequest): boolean => request.query.get('sendInitialEvents') === 'true';
const streamed: RigOptions = { listing: 'streamed' };

describe('informer that lists by its watch', () => {
  let api: TestApiServer;
  let rig: InformerRig;
  const streamCount = (): number => rig.proxy.requests.filter(streams).length;

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    rig = await createInformerRig(api);
    await rig.put('a', '1');
    await rig.put('b', '1');
  });
  afterEach(() => rig.dispose());

  it('reads what is there and goes on, in one request and without a list', async () => {
    const informer = await rig.start(streamed);
    expect(rig.seen).to.have.members(['added a=1', 'added b=1']);
    await rig.put('a', '2');
    await eventually(() => expect(rig.seen.at(-1)).to.equal('updated a=2'));
    await rig.wantAlive(informer);
    expect([rig.lists(), rig.watches(), streamCount()]).to.deep.equal([0, 1, 1]);
  });

  it('resumes by a plain watch after the connection is reset', async () => {
    const informer = await rig.start(streamed);
    rig.proxy.resetAll();
    await eventually(() => rig.watches() === 2);
    await rig.wantAlive(informer);
    expect([rig.lists(), streamCount()]).to.deep.equal([0, 1]);
    expect(rig.proxy.requests.at(-1)?.query.get('resourceVersion')).to.match(/^[1-9]/);
  });

  it('streams again after its version expired, and delivers what was deleted meanwhile', async () => {
    const informer = await rig.start(streamed);
    const gone = rig.proxy.fault(
      { kind: 'answer', status: 410, body: statusBody(410, 'Expired') },
      { match: (request) => isWatch(request) && !streams(request) },
    );
    // Nobody is told that the version expired before all has happened: a stream that is refused would become a list.
    await rig.proxy.refuse(true);
    rig.proxy.resetAll();
    await rig.remove('a');
    await rig.put('b', '2');
    await rig.proxy.refuse(false);
    await eventually(() => expect(rig.seen).to.include.members(['deleted a=1', 'updated b=2']));
    gone();
    await rig.wantAlive(informer);
    expect([rig.lists(), streamCount()]).to.deep.equal([0, 2]);
  });

  for (const status of [400, 422]) {
    it(`asks for pages where the API server answers ${status}, and does not ask for a stream again`, async () => {
      rig.proxy.fault({ kind: 'answer', status, body: statusBody(status, 'Invalid') }, { match: streams });
      const informer = await rig.start(streamed);
      expect(rig.seen).to.have.members(['added a=1', 'added b=1']);
      rig.proxy.fault({ kind: 'answer', status: 410, body: statusBody(410, 'Expired') }, { match: isWatch, times: 1 });
      rig.proxy.endAnswers();
      await eventually(() => rig.lists() === 2);
      await rig.wantAlive(informer);
      expect(streamCount()).to.equal(1);
    });
  }

  it('asks for pages after a stream that was cut off, delivers nothing twice, and streams the next time', async () => {
    rig.proxy.fault({ kind: 'reset', afterBytes: 600 }, { match: streams, times: 1 });
    const informer = await rig.start(streamed);
    expect([...rig.seen].sort()).to.deep.equal(['added a=1', 'added b=1']);
    expect([rig.lists(), streamCount()]).to.deep.equal([1, 1]);
    rig.proxy.fault({ kind: 'answer', status: 410, body: statusBody(410, 'Expired') }, { match: isWatch, times: 1 });
    rig.proxy.endAnswers();
    await eventually(() => streamCount() === 2);
    await rig.wantAlive(informer);
    expect(rig.lists()).to.equal(1);
  });

  it('is not synced by a stream that does not say that this was all', async () => {
    // Long enough for the objects, too short for the bookmark after them.
    rig.proxy.fault({ kind: 'stall', afterBytes: 600 }, { match: streams, times: 1 });
    const hold = rig.proxy.fault({ kind: 'answer', status: 503 }, { match: (request) => !isWatch(request) });
    const informer = rig.run({ ...streamed, limits: { inactivityMs: 300 } });
    await eventually(() => rig.lists() > 0);
    expect(informer.hasSynced()).to.equal(false);
    hold();
    await informer.synced();
    await rig.wantAlive(informer);
  });

  it('waits as long as a 429 asks', async () => {
    const headers = { 'retry-after': '1' };
    rig.proxy.fault(
      { kind: 'answer', status: 429, headers, body: statusBody(429, 'TooManyRequests') },
      { match: streams, times: 1 },
    );
    const informer = await rig.start(streamed);
    const [refused, next] = rig.proxy.requests;
    expect((next?.atMs ?? 0) - (refused?.atMs ?? 0)).to.be.at.least(1000);
    await rig.wantAlive(informer);
  });
});
