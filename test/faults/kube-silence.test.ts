// Half-open connections: nothing is closed and nothing comes. A watch cannot tell such a connection from a quiet kind, so
// it has a limit of its own, and the requests beside it are witnesses.
import { expect } from 'chai';
import { isKubeError } from '../../operator/kube/errors.ts';
import { resources } from '../../operator/kube/types.ts';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { createInformerRig, type InformerRig } from '../support/informerRig.ts';

describe('informer, on connections that go silent', () => {
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

  it('ends a watch whose other side has vanished, and loses nothing', async () => {
    await rig.put('a', '1');
    const client = rig.through({ timeoutMs: 200, connectTimeoutMs: 200 });
    const informer = await rig.start({ client, limits: { inactivityMs: 150 } });
    const listed = rig.lists();
    rig.proxy.blackhole(true);
    await rig.put('a', '2');
    await rig.remove('a');
    await rig.put('b', '1');
    rig.proxy.blackhole(false); // Connections of that time stay dead, as they do after a lost network path.
    await eventually(() => expect(rig.seen).to.include.members(['updated a=2', 'deleted a=2', 'added b=1']));
    expect(rig.lists()).to.equal(listed);
    await rig.wantAlive(informer);
  });

  it('does not wait for its own inactivity limit when requests find the server gone', async () => {
    const client = rig.through({ timeoutMs: 300 });
    const informer = await rig.start({ client, limits: { inactivityMs: 600_000 } });
    await rig.put('a', '1');
    await eventually(() => expect(rig.seen).to.include('added a=1')); // Nothing is left in the pipe.
    const listed = rig.lists();
    rig.proxy.blackhole(true);
    await rig.put('a', '2');
    rig.proxy.blackhole(false); // The watch stays dead, and nothing tells it.
    const outcome = await client.get(resources.configMaps, rig.namespace, 'a').catch((err: unknown) => err);
    expect(isKubeError(outcome, 'timeout')).to.equal(true, 'the connection that listed is dead too');
    await eventually(() => expect(rig.seen).to.include('updated a=2'));
    expect(rig.lists()).to.equal(listed);
    await rig.wantAlive(informer);
  });

  it('keeps its watch when one request is slow and others are answered', async () => {
    const client = rig.through({ timeoutMs: 300 });
    const informer = await rig.start({ client });
    rig.proxy.fault({ kind: 'delay', ms: 2000 }, { match: (request) => request.path.endsWith('/slow') });
    const slow = client.get(resources.configMaps, rig.namespace, 'slow').catch((err: unknown) => err);
    await rig.put('a', '1'); // Its event is a sign of life.
    await eventually(() => expect(rig.seen).to.include('added a=1'));
    expect(isKubeError(await slow, 'timeout')).to.equal(true);
    await rig.put('a', '2');
    await eventually(() => expect(rig.seen).to.include('updated a=2'));
    expect(rig.watches()).to.equal(1);
    await rig.wantAlive(informer);
  });

  it('keeps a quiet watch open and re-watches a silent one without listing', async () => {
    const informer = await rig.start({ limits: { inactivityMs: 100 } });
    const listed = rig.lists();
    await eventually(() => rig.watches() >= 4);
    expect(rig.lists()).to.equal(listed);
    await rig.wantAlive(informer);
  });
});
