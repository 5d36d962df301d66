// From `kubectl apply` to `kubectl delete`: what a pool becomes, what a user reads of it, and that nothing is left.
import { expect } from 'chai';
import { stringify } from 'yaml';
import { resources, type RawConfigMap, type RawDeployment, type RawPod } from '../../operator/kube/types.ts';
import { eventually } from '../support/eventually.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('the life of a pool', function () {
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
  });

  /** kubectl in the namespace of the test. */
  const kubectl = (...args: string[]): Promise<string> => stage.kubectl(['--namespace', stall.namespace, ...args]);

  it('becomes a Deployment, ConfigMaps and a status, and goes without leaving anything', async () => {
    const pool = stall.pool('reports').queue('audits', 'audits.*').manifest();
    await stage.kubectl(['apply', '--filename', '-'], stringify(pool));
    await eventually(async () =>
      expect(await stall.condition('reports', 'Ready')).to.equal('True/ScaledToZero: no pod is needed'),
    );
    const deployment = await stall.deployment('reports');
    expect(deployment?.spec?.replicas).to.equal(0);
    expect(deployment?.spec?.template.spec?.containers[0]?.command).to.include('celery');
    const { items } = await stage.api.client.list<RawConfigMap>(resources.configMaps, {
      namespace: stall.namespace,
      labelSelector: 'app.kubernetes.io/managed-by=muster',
    });
    const names = items.map(({ metadata }) => metadata.name ?? '').sort();
    expect(names).to.have.length(2);
    expect(names[0]).to.match(/^muster-routes-[0-9a-f]{8,10}$/);
    expect(names[1]).to.equal('muster-worker-file');

    const status = await stall.status('reports');
    expect(status).to.deep.include({ observedGeneration: 1, replicas: 0, readyReplicas: 0, desiredReplicas: 0 });
    expect(status).to.deep.include({ selector: 'muster.dev/pool=reports' });
    expect(status.queues).to.deep.equal([
      { name: `${stall.namespace}-reports`, ready: 0, running: 0, held: 0 },
      { name: 'audits', ready: 0, running: 0, held: 0 },
    ]);
    expect(status.conditions?.map(({ type }) => type)).to.deep.equal(['Ready', 'BrokerReachable', 'Scaling', 'Routed']);
    for (const condition of status.conditions ?? []) {
      expect(condition.observedGeneration).to.equal(1);
      expect(condition.status, condition.type).to.equal('True');
    }
    await eventually(async () =>
      expect((await stall.events()).map(({ reason, note }) => `${reason}: ${note}`)).to.deep.equal([
        'Created: created Deployment reports',
      ]),
    );

    await kubectl('delete', 'wp/reports');
    await eventually(
      async () => {
        const left = await kubectl(
          'get',
          'deployments,replicasets,configmaps,pods',
          '--selector=app.kubernetes.io/managed-by=muster',
          '--output=name',
        );
        expect(left).to.equal('');
      },
      { timeoutMs: 60_000, intervalMs: 500 },
    );
    await eventually(async () =>
      expect(
        await stage.operator.metric('muster_pool_ready', { namespace: stall.namespace, pool: 'reports' }),
      ).to.equal(undefined),
    );
  });

  it('prints what a user looks for, in columns', async () => {
    await stall.apply(stall.pool('reports').concurrency(4).max(7), 'settle');
    await stall.push(`${stall.namespace}-reports`, 3);
    await eventually(async () => expect((await stall.status('reports')).tasks?.waiting).to.equal(3));
    const [header = '', row = ''] = (await kubectl('get', 'wp')).split('\n');
    expect(header.split(/\s+/)).to.deep.equal([
      ...['NAME', 'READY', 'DESIRED', 'MAX', 'WAITING', 'RUNNING', 'REASON', 'AGE'],
    ]);
    expect(row).to.match(/^reports +0 +1 +7 +3 +0 +(Starting|Unschedulable) +\d+s$/);
    const wide = (await kubectl('get', 'workerpools', '--output=wide')).split('\n');
    expect(wide[0]?.split(/\s+/)).to.include.members(['HELD', 'SLOTS', 'PREFETCH', 'ACK']);
    expect(wide[1]?.split(/\s+/)).to.include.members(['4', 'Fair', 'Early']);
    expect(await kubectl('get', 'muster', '--output=name')).to.equal('workerpool.muster.dev/reports');
  });

  it('is described with its conditions, its last decision and its events', async () => {
    await stall.apply(stall.pool('reports'), 'settle');
    await stall.push(`${stall.namespace}-reports`, 2);
    await eventually(async () => {
      const text = await kubectl('describe', 'wp/reports');
      expect(text).to.match(/Type: +BrokerReachable/);
      expect(text).to.include(`connected to 127.0.0.1:${stage.redis.port}/0`);
      expect(text).to.match(/Last Decision:[^]*From: +0[^]*Message: +2 tasks outstanding at 1 per pod/);
      expect(text).to.match(/Normal +Scaled .* 0 → 2 replicas: 2 tasks outstanding at 1 per pod/);
      expect(text).to.match(/Normal +Created .* created Deployment reports/);
    });
  });

  it('is explained by kubectl', async () => {
    const explained = await kubectl('explain', 'wp.spec.prefetch');
    expect(explained).to.match(/DESCRIPTION:\n +How many messages a worker may hold\./);
    expect(explained).to.match(/policy\t<string>\n +enum: Multiplier, Fair, Unlimited/);
    expect(await kubectl('explain', 'wp.spec.scaling.idleSeconds')).to.include('every worker said so');
  });

  it('starts no pod for a pool at zero, not even at creation', async () => {
    const pods: string[] = [];
    const steps: string[] = [];
    const watches = [
      await stall.watch<RawPod>(resources.pods, (pod) => pods.push(pod.metadata.name ?? '')),
      await stall.watch<RawDeployment>(resources.deployments, ({ spec }) => {
        steps.push(`${spec?.paused === true ? 'paused' : 'going'} at ${spec?.replicas}`);
      }),
    ];
    for (const name of ['a', 'b', 'c']) await stall.apply(stall.pool(name), 'settle');
    // Let the Deployment controller do whatever it will do: it has seen the last write when it says so.
    for (const name of ['a', 'b', 'c']) {
      await eventually(async () => {
        const deployment = await stall.deployment(name);
        expect(deployment?.status?.observedGeneration).to.equal(deployment?.metadata.generation);
      });
    }
    await Promise.all(watches.map((stop) => stop()));
    expect(pods).to.deep.equal([]);
    expect(steps.filter((each) => each === 'paused at 1')).to.have.length.at.least(3);
    expect(steps).to.not.include('going at 1');
    expect(steps.at(-1)).to.equal('going at 0');
  });

  it('writes the template and the size under field managers of their own', async () => {
    await stall.apply(stall.pool('reports').min(2), 'settle');
    const deployment = await stall.deployment('reports');
    expect(deployment?.spec?.replicas).to.equal(2);
    const managers = (deployment?.metadata.managedFields ?? [])
      .filter(({ manager }) => manager?.startsWith('muster-'))
      .map(({ manager, operation, subresource, fieldsV1 }) => ({
        manager,
        operation,
        subresource,
        replicas: JSON.stringify(fieldsV1).includes('f:replicas'),
        paused: JSON.stringify(fieldsV1).includes('f:paused'),
      }))
      .sort((a, b) => ((a.manager ?? '') < (b.manager ?? '') ? -1 : 1));
    expect(managers).to.deep.equal([
      { manager: 'muster-scaler', operation: 'Apply', subresource: 'scale', replicas: true, paused: false },
      { manager: 'muster-workerpool', operation: 'Apply', subresource: undefined, replicas: false, paused: false },
    ]);
    await eventually(async () => expect(await stall.pods('reports')).to.have.length(2));
  });

  it('puts back what somebody changed in its Deployment, and makes it anew when it was deleted', async () => {
    await stall.apply(stall.pool('reports').min(1), 'settle');
    await kubectl('set', 'image', 'deployment/reports', 'worker=other:1');
    await eventually(async () => {
      const deployment = await stall.deployment('reports');
      expect(deployment?.spec?.template.spec?.containers[0]?.image).to.equal('shop:1');
    });
    const before = (await stall.deployment('reports'))?.metadata.uid;
    await kubectl('delete', 'deployment/reports');
    await eventually(async () => {
      const deployment = await stall.deployment('reports');
      expect(deployment?.metadata.uid).to.not.be.oneOf([before, undefined]);
      expect(deployment?.spec?.replicas).to.equal(1);
      expect(deployment?.spec?.paused).to.equal(undefined);
    });
  });

  it('puts back what somebody changed after a restart of the operator, which itself writes nothing', async () => {
    await stall.apply(stall.pool('reports').min(1), 'settle');
    const before = await stall.deployment('reports');
    await stage.restartOperator();
    // A new size is the sign that the new process has looked; it changes the Deployment, but not what the pool asks for.
    await stall.patch('reports', { scaling: { minReplicas: 2 } });
    await eventually(async () => expect(await stall.replicas('reports')).to.equal(2));
    const scaled = await stall.deployment('reports');
    expect(scaled?.metadata.generation).to.equal((before?.metadata.generation ?? 0) + 1);
    await kubectl('set', 'image', 'deployment/reports', 'worker=other:1');
    await eventually(async () => {
      const deployment = await stall.deployment('reports');
      expect(deployment?.spec?.template.spec?.containers[0]?.image).to.equal('shop:1');
    });
    expect(await stall.replicas('reports')).to.equal(2);
  });

  it('rolls its pods when the template changes, and leaves the size alone', async () => {
    await stall.apply(stall.pool('reports').min(2).worker({ image: 'shop:1' }), 'settle');
    await eventually(async () => expect(await images(stall)).to.deep.equal(['shop:1', 'shop:1']));
    await stall.apply(stall.pool('reports').min(2).worker({ image: 'shop:2' }), 'settle');
    await eventually(async () => expect(await images(stall)).to.include('shop:2'));
    expect(await stall.replicas('reports')).to.equal(2);
  });
});

async function images(stall: Stall): Promise<(string | undefined)[]> {
  return (await stall.pods('reports')).map(({ spec }: RawPod) => spec?.containers[0]?.image);
}
