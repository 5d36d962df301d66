// Pools that the API server accepts and that are wrong all the same: each says so within 5 s, in a condition whose
// sentence names the cause, and mends by itself once the cause is gone.
import { expect } from 'chai';
import { resources } from '../../operator/kube/types.ts';
import { eventually } from '../support/eventually.ts';
import { actAsKubelet, runningFor, type ContainerReport } from '../support/kubectl.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('a pool that is wrong', function () {
  this.timeout(60_000);
  let stage: Stage;
  let stall: Stall;
  before(async () => {
    stage = await startStage();
  });
  after(() => stage.stop());
  beforeEach(async () => {
    stall = await stage.stall();
  });

  const want = (name: string, type: string, pattern: RegExp, timeoutMs = 5000): Promise<unknown> =>
    eventually(async () => expect(await stall.condition(name, type)).to.match(pattern), { timeoutMs });
  const wantWell = (name: string): Promise<unknown> => want(name, 'Ready', /^True\/ScaledToZero/);
  const fromSecret = (name: string): ReturnType<Stall['pool']> =>
    stall.pool(name).broker({ urlFrom: { secretKeyRef: { name: 'redis', key: 'url' } } });

  it('Secret missing, then its key, then an URL that is none: each is named, and mends when it is there', async () => {
    await stall.apply(fromSecret('a'));
    const missing =
      /^False\/SecretMissing: broker\.urlFrom: Secret redis does not exist in namespace .*; create it with the key url/;
    await want('a', 'Ready', missing);
    await want('a', 'BrokerReachable', missing);
    await want('a', 'Scaling', /^False\/SignalUnknown: the size does not shrink: .*Secret redis does not exist/);
    expect(await stall.deployment('a')).to.equal(undefined);
    await stall.secret('redis', stage.redis.url, 'address');
    await want('a', 'BrokerReachable', /^False\/SecretKeyMissing: .*Secret redis has no key url; it has: address/);
    await stall.secret('redis', 'localhost');
    await want('a', 'BrokerReachable', /^False\/InvalidURL: .+/);
    await stall.secret('redis', `${stage.redis.url}/0`);
    await wantWell('a');
    const warnings = (await stall.events()).filter(({ type }) => type === 'Warning');
    for (const reason of ['SecretMissing', 'SecretKeyMissing', 'InvalidURL'])
      expect(warnings.map((each) => each.reason)).to.include(reason);
  });

  it('queue claimed by two pools: both say so and name the other, until one is deleted', async () => {
    await stall.apply(stall.pool('a').queue('shared'), 'settle');
    await wantWell('a');
    await want('a', 'Routed', /^True/);
    await stall.apply(stall.pool('b').queue('shared'), 'settle');
    await want('a', 'Routed', /^False\/Conflict: queue shared is consumed by pool b as well/);
    await want('b', 'Routed', /^False\/Conflict: queue shared is consumed by pool a as well/);
    await stall.delete('b');
    await want('a', 'Routed', /^True/);
  });

  it('pattern claimed for two queues: the older claim stands, and the later one takes over when it goes', async () => {
    await stall.apply(stall.pool('a').queue('first', 'reports.*'), 'settle');
    await stall.apply(stall.pool('b').queue('second', 'reports.*'), 'settle');
    await want(
      'a',
      'Routed',
      /^False\/Conflict: tasks reports\.\* are claimed for queue second by pool b as well; the older claim, of this pool, stands/,
    );
    await want('b', 'Routed', /^False\/Conflict: tasks reports\.\* are claimed for queue first by pool a already/);
    await stall.delete('a');
    await want('b', 'Routed', /^True\/Routed: 1 pattern in ConfigMap muster-routes-/);
  });

  it('visibility timeout shorter than longestTaskSeconds: a hazard until it is long enough', async () => {
    const pool = stall.pool('a').ack('Late').longest(7200);
    await stall.apply(pool);
    await want(
      'a',
      'VisibilityHazard',
      /^True\/ShorterThanLongestTask: .*3600 s, the default of Celery.*visibilityTimeoutSeconds: 7200/,
    );
    await stall.patch('a', { broker: { visibilityTimeoutSeconds: 7200 } });
    await want('a', 'VisibilityHazard', /^$/);
    await wantWell('a');
  });

  it('prefetch without a limit: a hazard until the policy is another', async () => {
    await stall.apply(stall.pool('a').prefetch('Unlimited'));
    await want('a', 'PrefetchHazard', /^True\/Unlimited: .*prefetch\.policy: Fair/);
    await stall.patch('a', { prefetch: { policy: 'Fair' } });
    await want('a', 'PrefetchHazard', /^$/);
  });

  it("Deployment of somebody else under the pool's name: it is not touched, and taken over by nobody", async () => {
    const { client } = stage.api;
    const foreign = {
      metadata: { namespace: stall.namespace, name: 'a' },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'web' } },
        template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'web', image: 'web:1' }] } },
      },
    };
    await client.create(resources.deployments, stall.namespace, foreign);
    await stall.apply(stall.pool('a'));
    await want(
      'a',
      'Ready',
      /^False\/NameTaken: Deployment a exists and does not belong to this pool; delete or rename it/,
    );
    await stall.push(`${stall.namespace}-a`, 5);
    await eventually(async () => expect((await stall.status('a')).tasks?.waiting).to.equal(5));
    const deployment = await stall.deployment('a');
    expect(deployment?.spec?.replicas).to.equal(2);
    const managers = (deployment?.metadata.managedFields ?? []).map(({ manager }) => manager ?? '');
    expect(managers.filter((manager) => manager.startsWith('muster-'))).to.deep.equal([]);
    expect((await stall.status('a')).replicas).to.equal(0);
    await client.delete(resources.deployments, stall.namespace, 'a');
    await eventually(async () => expect(await stall.replicas('a')).to.equal(5));
  });

  it('pod template that the API server refuses: its own words are in the condition, until the template is right', async () => {
    await stall.apply(stall.pool('a').worker({ ports: [{ containerPort: 70_000 }] }));
    await want(
      'a',
      'Ready',
      /^False\/TemplateInvalid: the API server refuses the Deployment: .*containerPort.*70000.*between 1 and 65535/,
    );
    expect(await stall.deployment('a')).to.equal(undefined);
    await stall.apply(stall.pool('a').worker({ ports: [{ containerPort: 7000 }] }), 'settle');
    await wantWell('a');
  });

  it('template that becomes wrong: the pool still scales, and its last decision is told', async () => {
    await stall.apply(stall.pool('a'), 'settle');
    await stall.apply(stall.pool('a').worker({ ports: [{ containerPort: 70_000 }] }));
    await want('a', 'Ready', /^False\/TemplateInvalid/);
    await stall.push(`${stall.namespace}-a`, 2);
    await eventually(async () => expect(await stall.replicas('a')).to.equal(2));
    await eventually(async () => expect((await stall.status('a')).lastDecision).to.deep.include({ from: 0, to: 2 }));
  });

  it('image that cannot be pulled: the condition has the words of the kubelet, until it runs', async () => {
    await stall.apply(stall.pool('a').min(1).worker({ image: 'registry.example/shop:none' }), 'settle');
    await report('a', {
      state: {
        waiting: {
          reason: 'ImagePullBackOff',
          message: 'Back-off pulling image "registry.example/shop:none": ErrImagePull: not found',
        },
      },
    });
    await want(
      'a',
      'Ready',
      /^False\/ImagePullFailed: image registry\.example\/shop:none of container worker cannot be pulled: not found/,
    );
    await report('a', runningFor(1));
    await want('a', 'Ready', /^True\/Running: 1 of 1 pods ready/);
  });

  it('worker that crashes: its last words are in the condition, and never a password of the broker', async () => {
    const password = 'correct-horse-battery';
    await stage.redis.command('ACL', 'SETUSER', 'shop', 'on', `>${password}`, '~*', '&*', '+@all');
    await stall.secret('redis', `redis://shop:${password}@127.0.0.1:${stage.redis.port}/0`);
    await stall.apply(fromSecret('a').min(1), 'settle');
    const message = [
      'Traceback (most recent call last):',
      `kombu.exceptions.OperationalError: cannot connect to redis://shop:${password}@127.0.0.1:6379/0`,
      `login shop ${password} failed`,
      "ModuleNotFoundError: No module named 'shop'",
    ].join('\n');
    await report('a', {
      state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s restarting failed container' } },
      lastState: { terminated: { exitCode: 1, reason: 'Error', message } },
      restarts: 3,
    });
    await want(
      'a',
      'Ready',
      /^False\/WorkerCrashed: container worker of pod a-\S+ ended with exit code 1: .*No module named 'shop'/,
    );
    await eventually(async () =>
      expect((await stall.events()).map(({ reason }) => reason)).to.include('WorkerCrashed'),
    );
    for (const text of [
      JSON.stringify(await stall.get('a')),
      JSON.stringify(await stall.events()),
      JSON.stringify(await stall.deployment('a')),
      JSON.stringify(stage.operator.log),
      stage.operator.stray.join('\n'),
    ])
      expect(text).to.not.include(password);
    // Ready again, but a container that has just started after a crash is not yet well.
    await report('a', { ...runningFor(60), lastState: { terminated: { exitCode: 1, message } }, restarts: 4 });
    await want('a', 'Ready', /^True\/Running: 1 of 1 pods ready/);
  });

  /** What the kubelet says about the one pod of a pool. */
  const report = async (name: string, what: ContainerReport): Promise<void> => {
    await eventually(async () => expect(await stall.pods(name)).to.have.length(1));
    const [pod] = await stall.pods(name);
    await actAsKubelet(stage.api.client, pod!, what);
  };
});
