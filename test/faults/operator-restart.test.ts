// The API server, etcd and the operator itself die, freeze and come back under pools that are in use. Afterwards the
// operator acts as before, and meanwhile nothing was scaled on a guess.
import { expect } from 'chai';
import { resources, type RawDeployment, type RawPod } from '../../operator/kube/types.ts';
import { untilWritable } from '../support/apiServer.ts';
import { eventually } from '../support/eventually.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('the operator, while the control plane dies and comes back', function () {
  this.timeout(120_000);
  let stage: Stage;
  let stall: Stall;
  before(async () => {
    stage = await startStage();
    // The garbage collector looks for new kinds every 30 s, and when it starts.
    await eventually(() => stage.kubectl(['explain', 'wp']));
    await stage.api.cluster.kill('kube-controller-manager');
    await stage.api.cluster.start('kube-controller-manager');
  });
  after(() => stage.stop());
  beforeEach(async () => {
    stall = await stage.stall();
    await stall.apply(stall.pool('a'), 'settle');
    await stall.push(`${stall.namespace}-a`, 2);
    await wantReplicas('a', 2);
  });

  const wantReplicas = (name: string, count: number, timeoutMs = 10_000): Promise<unknown> =>
    eventually(async () => expect(await stall.replicas(name)).to.equal(count), { timeoutMs, intervalMs: 50 });
  /** Every part still works: tasks, changes of a pool, new pools, foreign edits, the status. */
  const wantAlive = async (replicas: number): Promise<void> => {
    await untilWritable(stage.api.client, stall.namespace);
    await stall.push(`${stall.namespace}-a`, 2);
    await wantReplicas('a', replicas + 2, 40_000);
    await eventually(async () =>
      expect((await stall.status('a')).lastDecision).to.deep.include({ from: replicas, to: replicas + 2 }),
    );
    await stall.apply(stall.pool('b').min(1), 'settle');
    await wantReplicas('b', 1);
    await stall.patch('a', { scaling: { maxReplicas: 4 } });
    await eventually(async () => expect((await stall.status('a')).observedGeneration).to.equal(2));
    await stage.api.client.delete(resources.deployments, stall.namespace, 'b');
    await wantReplicas('b', 1);
  };

  it('API server killed and started again, with tasks that came meanwhile', async () => {
    await stage.api.cluster.kill('kube-apiserver');
    await stall.push(`${stall.namespace}-a`);
    // It tries, and is not there: the operator is well all the same, and has scaled nothing in its own mind.
    await eventually(async () => {
      const failed = await stage.operator.metric('rest_client_requests_total', { code: '<error>', method: 'PATCH' });
      expect(failed).to.be.at.least(1);
    });
    expect((await fetch(`${stage.operator.url}/healthz`)).status).to.equal(200);
    await stage.api.cluster.start('kube-apiserver');
    await wantReplicas('a', 3, 40_000);
    await eventually(() => {
      const lines = stage.operator.log.filter(({ message }) => message === 'scaled');
      const ours = lines.filter((line) => line['namespace'] === stall.namespace);
      expect(ours.map(({ to }) => to)).to.deep.equal([2, 3]);
    });
    await wantAlive(3);
  });

  it('etcd killed and started again', async () => {
    await stage.api.cluster.kill('etcd');
    await stage.api.cluster.start('etcd');
    await wantAlive(2);
  });

  it('pool deleted and made anew while the operator was frozen: the new one gets a Deployment and a status of its own', async () => {
    await stall.apply(stall.pool('idle'), 'settle');
    await eventually(async () => expect(await stall.condition('idle', 'Ready')).to.match(/^True\/ScaledToZero/));
    stage.operator.signal('SIGSTOP');
    try {
      await stall.delete('idle');
      await stall.apply(stall.pool('idle'));
    } finally {
      stage.operator.signal('SIGCONT');
    }
    const { uid } = (await stall.get('idle')).metadata;
    await eventually(
      async () => {
        const deployment = await stall.deployment('idle');
        expect(deployment?.metadata.ownerReferences?.map((owner) => owner.uid)).to.deep.equal([uid]);
        expect([deployment?.spec?.paused, deployment?.spec?.replicas]).to.deep.equal([undefined, 0]);
      },
      { timeoutMs: 40_000, intervalMs: 100 },
    );
    await eventually(async () => expect(await stall.condition('idle', 'Ready')).to.match(/^True\/ScaledToZero/));
  });

  it('operator killed in the middle of making pools: the next one finishes them, and no pod was ever started', async () => {
    const names = Array.from({ length: 8 }, (_, index) => `n${index}`);
    const pods: string[] = [];
    let killed: Promise<unknown> | undefined;
    const watches = [
      await stall.watch<RawPod>(resources.pods, ({ metadata }) => pods.push(metadata.name ?? '')),
      await stall.watch<RawDeployment>(resources.deployments, ({ spec }) => {
        // The first write of three: the default of one replica, held back by the pause.
        if (spec?.paused === true) killed ??= stage.operator.stop('SIGKILL');
      }),
    ];
    await Promise.all(names.map((name) => stall.apply(stall.pool(name))));
    await eventually(() => killed !== undefined);
    await killed;
    const left = await Promise.all(names.map((name) => stall.deployment(name)));
    expect(
      left.filter((deployment) => deployment?.spec?.paused !== undefined || deployment === undefined),
    ).to.not.deep.equal([]);
    await stage.restartOperator();
    for (const name of names) {
      await eventually(async () => {
        const deployment = await stall.deployment(name);
        expect([deployment?.spec?.paused, deployment?.spec?.replicas]).to.deep.equal([undefined, 0]);
        expect(deployment?.status?.observedGeneration).to.equal(deployment?.metadata.generation);
      });
    }
    await Promise.all(watches.map((stop) => stop()));
    expect(pods.filter((pod) => pod.startsWith('n'))).to.deep.equal([]);
  });
});
