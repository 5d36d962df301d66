// Operators with a Lease: one works, and another one takes over wherever the first one was when it died. And one that
// loses the Lease because the API server was away works again when it has it back.
import { expect } from 'chai';
import { resources, type RawLease } from '../../operator/kube/types.ts';
import { eventually } from '../support/eventually.ts';
import { startOperator, type OperatorProcess } from '../support/operator.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('operators with a Lease', function () {
  this.timeout(90_000);
  let stage: Stage;
  let stall: Stall;
  let second: OperatorProcess | undefined;
  before(async () => {
    stage = await startStage(['--leader-elect']);
  });
  after(async () => {
    await second?.stop();
    await stage.stop();
  });
  beforeEach(async () => {
    stall = await stage.stall();
  });

  const leads = async (operator: OperatorProcess): Promise<boolean> =>
    (await operator.metric('leader_election_master_status', { name: 'muster-operator' })) === 1;
  /** How often an operator has scaled a pool of this test. */
  const actions = (operator: OperatorProcess): number =>
    operator.log.filter((line) => line.message === 'scaled' && line['namespace'] === stall.namespace).length;
  const wantReplicas = (name: string, count: number, timeoutMs = 10_000): Promise<unknown> =>
    eventually(async () => expect(await stall.replicas(name)).to.equal(count), { timeoutMs });

  it('one that is stopped gives the Lease back, so that the next one acts at once', async () => {
    await stall.apply(stall.pool('a'), 'settle');
    const holder = async (): Promise<string | undefined> => {
      const { client } = stage.api;
      return (await client.get<RawLease>(resources.leases, 'default', 'muster-operator')).spec?.holderIdentity;
    };
    expect(await holder()).to.not.be.oneOf(['', undefined]);
    expect(await stage.operator.stop()).to.equal(0);
    expect(await holder()).to.be.oneOf(['', undefined]);
    await stage.restartOperator();
    await stall.push(`${stall.namespace}-a`);
    await wantReplicas('a', 1);
  });

  it('one that lost the Lease while the API server was away wins it back, and idle pools grow with their queues', async () => {
    await stall.apply(stall.pool('a'), 'settle');
    await stall.apply(stall.pool('b'), 'settle');
    await stage.api.cluster.kill('kube-apiserver');
    await eventually(async () => expect(await leads(stage.operator)).to.equal(false), { timeoutMs: 20_000 });
    // Tasks that come meanwhile, and tasks that come later: nobody touches the pools.
    await stall.push(`${stall.namespace}-a`, 3);
    await stage.api.cluster.start('kube-apiserver');
    await wantReplicas('a', 3, 30_000);
    await stall.push(`${stall.namespace}-b`, 2);
    await wantReplicas('b', 2);
  });

  it('of two only the leader acts and reads the broker, and both are well and ready', async () => {
    second = await startOperator({ kubeconfig: stage.api.cluster.kubeconfigPath, args: ['--leader-elect'] });
    await stall.apply(stall.pool('a'), 'settle');
    await stall.push(`${stall.namespace}-a`, 2);
    await wantReplicas('a', 2);
    await eventually(() => expect(actions(stage.operator)).to.equal(1));
    expect(actions(second)).to.equal(0);
    expect(await leads(second)).to.equal(false);
    expect(await second.metric('muster_broker_up', { broker: `127.0.0.1:${stage.redis.port}/0` })).to.equal(undefined);
    for (const { url } of [stage.operator, second]) {
      expect((await fetch(`${url}/healthz`)).status).to.equal(200);
      expect((await fetch(`${url}/readyz`)).status).to.equal(200);
    }
  });

  it('when the leader is killed the other one takes over, with the tasks that came meanwhile', async () => {
    const heir = second!;
    await stall.apply(stall.pool('a'), 'settle');
    await stage.operator.stop('SIGKILL');
    await stall.push(`${stall.namespace}-a`, 4);
    await wantReplicas('a', 4, 15_000);
    expect(await leads(heir)).to.equal(true);
    await eventually(async () => expect((await stall.status('a')).lastDecision).to.deep.include({ from: 0, to: 4 }));
    expect(actions(heir)).to.equal(1);
  });
});
