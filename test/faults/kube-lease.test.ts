// Leader election before a real API server: a leader that is killed, cut off, slow to stop, or whose clock is wrong. The
// promise is that two never work at once, and that the next one works within six seconds.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { createLeaderElection, type LeaderElection, type LeaderElectionOptions } from '../../operator/kube/lease.ts';
import { resources, type RawLease } from '../../operator/kube/types.ts';
import { systemClock, type Clock } from '../../operator/runtime/clock.ts';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { startFaultProxy, type FaultProxy } from '../support/faultProxy.ts';
import { silentLog } from '../support/silentLog.ts';

/** When something happened to whom, monotonic milliseconds. */
interface Entry {
  readonly who: string;
  readonly what: 'started' | 'stopped';
  readonly atMs: number;
}

interface Candidate {
  readonly election: LeaderElection;
  readonly stop: AbortController;
  readonly ended: Promise<unknown>;
}

describe('leader election', () => {
  let api: TestApiServer;
  let namespace: string;
  let proxy: FaultProxy;
  let diary: Entry[];
  let candidates: Candidate[];
  let children: ChildProcess[];

  before(async () => {
    api = await startApiServer();
  });
  after(() => api.stop());
  beforeEach(async () => {
    namespace = await api.namespace();
    proxy = await startFaultProxy(api.cluster);
    [diary, candidates, children] = [[], [], []];
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    for (const { stop } of candidates) stop.abort();
    await Promise.all(candidates.map((each) => each.ended));
    await proxy.close();
  });

  const note = (who: string, what: Entry['what']): void => void diary.push({ who, what, atMs: performance.now() });
  const working = (who: string) => async (signal: AbortSignal) => {
    note(who, 'started');
    if (!signal.aborted) await once(signal, 'abort');
    note(who, 'stopped');
  };
  const join = (who: string, options: Partial<LeaderElectionOptions> & { isProxied?: boolean } = {}): Candidate => {
    const stop = new AbortController();
    const { client, metrics } = api.connect(options.isProxied === true ? proxy.kubeConfig() : api.kubeConfig);
    const election = createLeaderElection({
      client,
      metrics,
      namespace,
      name: 'muster',
      identity: who,
      clock: systemClock,
      log: silentLog,
      onStarted: working(who),
      ...options,
    });
    const candidate = { election, stop, ended: election.run(stop.signal).catch((err: unknown) => err) };
    candidates.push(candidate);
    return candidate;
  };
  const readLease = (): Promise<RawLease> => api.client.get<RawLease>(resources.leases, namespace, 'muster');
  const until = (who: string, what: Entry['what'], timeoutMs = 10_000): Promise<Entry> =>
    eventually(() => diary.find((each) => each.who === who && each.what === what) ?? false, {
      timeoutMs,
    }) as Promise<Entry>;
  /** Nobody starts while another works. */
  const wantNeverTwo = (): void => {
    let worker: string | undefined;
    for (const { who, what } of diary) {
      expect(what === 'started' ? worker : who, JSON.stringify(diary)).to.equal(
        what === 'started' ? undefined : worker,
      );
      worker = what === 'started' ? who : undefined;
    }
  };

  it('gives one of several candidates the lease, and renews it', async () => {
    for (const who of ['a', 'b', 'c']) join(who);
    await eventually(() => diary.length === 1);
    const first = await readLease();
    await eventually(async () => (await readLease()).spec?.renewTime !== first.spec?.renewTime);
    expect(diary).to.have.length(1);
    expect(candidates.filter((each) => each.election.isLeader())).to.have.length(1);
    expect((await readLease()).spec?.holderIdentity).to.equal(diary[0]?.who);
  });

  it('is taken over at once when the leader stops in good order', async () => {
    const leader = join('a');
    await until('a', 'started');
    join('b');
    leader.stop.abort();
    expect(await leader.ended).to.equal(undefined);
    const [stopped, started] = [await until('a', 'stopped'), await until('b', 'started')];
    expect(started.atMs - stopped.atMs).to.be.below(2000);
    expect((await readLease()).spec?.leaseTransitions).to.equal(1);
    wantNeverTwo();
  });

  it('is taken over within six seconds when the leader is killed', async () => {
    const child = spawn(
      process.execPath,
      [
        '--import=tsx',
        new URL('kubeLeaseChild.ts', import.meta.url).pathname,
        api.cluster.kubeconfigPath,
        namespace,
        'muster',
        'child',
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(child);
    await once(child.stdout, 'data');
    join('b');
    await eventually(async () => (await readLease()).spec?.holderIdentity === 'child');
    const killedMs = performance.now();
    child.kill('SIGKILL');
    const started = await until('b', 'started');
    expect(started.atMs - killedMs).to.be.within(3000, 6500);
  });

  it('is left by a leader that is cut off, before another takes it', async () => {
    const leader = join('a', { isProxied: true });
    await until('a', 'started');
    join('b');
    const cutMs = performance.now();
    proxy.blackhole(true);
    const stopped = await until('a', 'stopped');
    const started = await until('b', 'started');
    expect(stopped.atMs - cutMs).to.be.below(5000);
    expect(started.atMs - cutMs).to.be.below(6500);
    expect(leader.election.isLeader()).to.equal(false);
    wantNeverTwo();
  });

  it('is tried for again, in the same process, by a leader that was cut off', async () => {
    join('a', { isProxied: true });
    await until('a', 'started');
    await proxy.refuse(true);
    await until('a', 'stopped');
    await proxy.refuse(false);
    await eventually(() => diary.filter((each) => each.what === 'started').length === 2);
    wantNeverTwo();
  });

  it('survives a connection that goes dead between two renewals', async () => {
    const leader = join('a', { isProxied: true });
    await until('a', 'started');
    for (let count = 0; count < 2; count += 1) {
      proxy.blackhole(true);
      proxy.blackhole(false); // What was open stays dead: the next renewal hangs, the one after needs a new connection.
      const before = (await readLease()).spec?.renewTime;
      await eventually(async () => (await readLease()).spec?.renewTime !== before);
    }
    expect(leader.election.isLeader()).to.equal(true);
    expect(diary).to.have.length(1);
  });

  it('survives a renewal whose answer is lost', async () => {
    const leader = join('a', { isProxied: true });
    await until('a', 'started');
    const isRenewal = (request: { method: string }): boolean => request.method === 'PATCH';
    proxy.fault({ kind: 'loseAnswer' }, { match: isRenewal, times: 1 });
    const before = proxy.requests.filter(isRenewal).length;
    await eventually(() => proxy.requests.filter(isRenewal).length > before + 1); // The lost one and its repetition.
    for (let renewals = 0; renewals < 4; renewals += 1) {
      const last = (await readLease()).spec?.renewTime;
      await eventually(async () => (await readLease()).spec?.renewTime !== last);
    }
    expect(leader.election.isLeader()).to.equal(true);
    expect(diary).to.have.length(1);
  });

  for (const [what, skewMs] of Object.entries({ 'an hour ahead': 3_600_000, 'an hour behind': -3_600_000 })) {
    it(`is not robbed from a leader by a candidate whose clock is ${what}`, async () => {
      const skewed: Clock = { ...systemClock, now: () => systemClock.now() + skewMs };
      join('a', { leaseMs: 2000, renewMs: 1500, retryMs: 500 });
      await until('a', 'started');
      join('b', { clock: skewed, leaseMs: 2000, renewMs: 1500, retryMs: 500 });
      let version = '';
      for (let renewals = 0; renewals < 8; renewals += 1) {
        await eventually(async () => (await readLease()).metadata.resourceVersion !== version);
        version = (await readLease()).metadata.resourceVersion ?? '';
      }
      expect(diary.map(({ who, what: did }) => `${who} ${did}`)).to.deep.equal(['a started']);
    });
  }

  it('ends in an error when the work does not stop before the lease runs out', async () => {
    let release: () => void = () => undefined;
    const stubborn = join('a', {
      isProxied: true,
      leaseMs: 2000,
      renewMs: 1500,
      retryMs: 500,
      onStarted: () => new Promise((resolve) => (release = resolve)),
    });
    await eventually(() => stubborn.election.isLeader());
    await proxy.refuse(true);
    expect(String(await stubborn.ended)).to.contain('did not stop before the lease ran out');
    release();
  });

  it('keeps the lease while the work ends after a shutdown', async () => {
    let release: () => void = () => undefined;
    const slow = join('a', {
      leaseMs: 2000,
      renewMs: 1500,
      retryMs: 500,
      onStarted: () => new Promise((resolve) => (release = resolve)),
    });
    await eventually(() => slow.election.isLeader());
    slow.stop.abort();
    let version = (await readLease()).metadata.resourceVersion;
    for (let renewals = 0; renewals < 6; renewals += 1) {
      await eventually(async () => (await readLease()).metadata.resourceVersion !== version);
      version = (await readLease()).metadata.resourceVersion;
    }
    expect((await readLease()).spec?.holderIdentity).to.equal('a');
    release();
    await slow.ended;
    expect((await readLease()).spec?.holderIdentity).to.equal('');
  });

  it('ends in the error of the work, and gives the lease back', async () => {
    const failing = join('a', { onStarted: () => Promise.reject(new Error('no broker')) });
    expect(String(await failing.ended)).to.contain('no broker');
    expect((await readLease()).spec?.holderIdentity).to.equal('');
  });

  it('comes back when someone deletes the Lease', async () => {
    const leader = join('a');
    await until('a', 'started');
    await api.client.delete(resources.leases, namespace, 'muster');
    await eventually(async () => (await readLease()).spec?.holderIdentity === 'a');
    expect(leader.election.isLeader()).to.equal(true);
  });
});
