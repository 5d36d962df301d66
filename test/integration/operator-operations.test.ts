// What those who run the operator rely on: metrics that Prometheus takes, health, a log that machines read, an end that
// is quick, and a restart that nobody notices.
import { expect } from 'chai';
import { execa } from 'execa';
import { ensurePromtool } from '../../dev/install/testTools.ts';
import { eventually } from '../support/eventually.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('running the operator', function () {
  this.timeout(90_000);
  let stage: Stage;
  let stall: Stall;
  before(async () => {
    stage = await startStage(['--log-level', 'debug']);
  });
  after(() => stage.stop());
  beforeEach(async () => {
    stall = await stage.stall();
  });

  const get = async (path: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${stage.operator.url}${path}`);
    return { status: response.status, text: await response.text() };
  };

  it('serves metrics that promtool has nothing to say about', async () => {
    await stall.apply(stall.pool('a').min(1), 'settle');
    await stall.push(`${stall.namespace}-a`, 3);
    const labels = { namespace: stall.namespace, pool: 'a' };
    const { operator } = stage;
    await eventually(async () => {
      expect(await operator.metric('muster_pool_tasks', { ...labels, state: 'waiting' })).to.equal(3);
      expect(await operator.metric('muster_pool_replicas', { ...labels, kind: 'desired' })).to.equal(3);
    });
    expect(await operator.metric('muster_scale_decisions_total', { ...labels, reason: 'Backlog' })).to.equal(1);
    expect(await operator.metric('muster_broker_up', { broker: `127.0.0.1:${stage.redis.port}/0` })).to.equal(1);
    const { text } = await get('/metrics');
    const promtool = await ensurePromtool();
    const checked = await execa(promtool, ['check', 'metrics'], { input: text, all: true, reject: false });
    expect(checked.all).to.equal('');
    expect(checked.exitCode).to.equal(0);
    await stall.delete('a');
    await eventually(async () =>
      expect((await get('/metrics')).text).to.not.include(`namespace="${stall.namespace}",pool="a"`),
    );
  });

  it('says that it is well and ready', async () => {
    for (const path of ['/healthz', '/livez', '/readyz'])
      expect(await get(path)).to.deep.equal({ status: 200, text: 'ok' });
    const { text } = await get('/readyz?verbose');
    for (const cache of ['workerpools', 'deployments', 'pods', 'configmaps']) expect(text).to.include(`[+]${cache} ok`);
    expect((await get('/nothing')).status).to.equal(404);
  });

  it('is restarted without a write to any pool or Deployment, and goes on', async () => {
    await stall.apply(stall.pool('a').min(1), 'settle');
    await stall.apply(stall.pool('b').queue('reports', 'reports.*'), 'settle');
    await stall.apply(stall.pool('c').prefetch('Unlimited'), 'settle');
    await stall.push(`${stall.namespace}-b`, 4);
    await eventually(async () => expect(await stall.pods('b')).to.have.length(4));
    const versions = async (): Promise<unknown> => {
      const deployments = await Promise.all(['a', 'b', 'c'].map((name) => stall.deployment(name)));
      const pools = await Promise.all(['a', 'b', 'c'].map((name) => stall.get(name)));
      return [...deployments, ...pools].map((object) => object?.metadata.resourceVersion);
    };
    // Settled: what the last pods and the counts have to say is said.
    let before = await versions();
    let same = 0;
    await eventually(
      async () => {
        const now = await versions();
        same = JSON.stringify(now) === JSON.stringify(before) ? same + 1 : 0;
        before = now;
        expect(same).to.be.at.least(12);
      },
      { timeoutMs: 30_000, intervalMs: 500 },
    );
    expect(await stage.operator.stop()).to.equal(0);
    await stage.restartOperator();
    await eventually(async () =>
      expect(
        await stage.operator.metric('muster_pool_tasks', { namespace: stall.namespace, pool: 'b', state: 'waiting' }),
      ).to.equal(4),
    );
    expect(await versions()).to.deep.equal(before);
    // Not even an event: that the pool c is dangerous was said before.
    expect(await stage.operator.writes()).to.equal(0);
    await stall.push(`${stall.namespace}-b`);
    await eventually(async () => expect(await stall.replicas('b')).to.equal(5));
  });

  it('changes its mind at once when tasks came while it was away', async () => {
    await stall.apply(stall.pool('a'), 'settle');
    await stage.operator.stop();
    await stall.push(`${stall.namespace}-a`, 2);
    await stage.restartOperator();
    await eventually(async () => expect(await stall.replicas('a')).to.equal(2), { timeoutMs: 5000 });
  });

  it('ends at SIGTERM with code 0 in the middle of work, and has logged nothing but JSON', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `p${index}`);
    await Promise.all(names.map((name) => stall.apply(stall.pool(name))));
    const { operator } = stage;
    expect(await operator.stop()).to.equal(0);
    expect(operator.stray).to.deep.equal([]);
    expect(operator.log[0]?.message).to.equal('started');
    expect(operator.log.at(-1)?.message).to.equal('stopped');
    for (const line of operator.log) {
      expect(line).to.include.keys('timestamp', 'level', 'message');
      expect(line.level, JSON.stringify(line)).to.not.equal('error');
    }
    await stage.restartOperator();
    for (const name of names) await eventually(async () => expect(await stall.replicas(name)).to.equal(0));
  });

  it('does not start with a setting that it does not understand, and says which in one sentence', async () => {
    const args = ['--import=tsx', 'operator/main.ts', '--tick-ms', 'often'];
    const refused = await execa(process.execPath, args, { reject: false });
    expect(refused.exitCode).to.equal(2);
    expect(refused.stderr).to.match(/^muster-operator: --tick-ms: .*\n?$/);
    expect(refused.stdout).to.equal('');
  });
});
