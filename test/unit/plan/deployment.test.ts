import { expect } from 'chai';
import type { WorkerPool } from '../../../operator/api/v1alpha1/workerpool.ts';
import { buildCommand, escapeDollars } from '../../../operator/plan/command.ts';
import { buildDeployment, type DeploymentContext } from '../../../operator/plan/deployment.ts';
import { buildEnvironment, mergeEnvironment } from '../../../operator/plan/environment.ts';
import { makePool, type PoolBuilder } from '../../support/builders.ts';
import { deploymentCases } from './cases.ts';
import { expectGolden } from './golden.ts';

const context: DeploymentContext = { routesConfigMap: 'muster-routes-0123abcd', paused: false };

function podSpecOf(pool: WorkerPool, overrides: Partial<DeploymentContext> = {}) {
  const spec = buildDeployment(pool, { ...context, ...overrides }).spec?.template.spec;
  if (spec === undefined) throw new Error('no pod spec');
  return spec;
}

function workerOf(pool: WorkerPool) {
  const worker = podSpecOf(pool).containers.find(({ name }) => name === 'worker');
  if (worker === undefined) throw new Error('no worker');
  return worker;
}

/** The variables with a plain value, by name. */
function valuesOf(builder: PoolBuilder): Record<string, string> {
  return Object.fromEntries(
    buildEnvironment(builder.obj()).flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])),
  );
}

describe('buildDeployment', () => {
  for (const [name, { pool, context: given }] of Object.entries(deploymentCases)) {
    it(`gives ${name}.yaml`, () => {
      expectGolden(name, buildDeployment(pool, given));
    });
  }

  it('gives the same text for the same pool, whatever was built before', () => {
    const text = (): string => JSON.stringify(buildDeployment(makePool('a').queue('x').obj(), context));
    expect(text()).to.equal(text());
  });

  it('never says replicas, which another field manager owns', () => {
    for (const { pool, context: given } of Object.values(deploymentCases)) {
      expect(buildDeployment(pool, given).spec).to.not.have.property('replicas');
    }
    expect(buildDeployment(makePool().fixed(3).obj(), context).spec).to.not.have.property('replicas');
  });

  it('says paused only when it is born', () => {
    expect(buildDeployment(makePool().obj(), context).spec).to.not.have.property('paused');
    expect(buildDeployment(makePool().obj(), { ...context, paused: true }).spec?.paused).to.equal(true);
  });

  it('does not change the pool', () => {
    const { pool } = deploymentCases['deployment-everything']!;
    const before = JSON.stringify(pool);
    buildDeployment(pool, context);
    expect(JSON.stringify(pool)).to.equal(before);
  });

  it('ends a pod 30 s after the longest task, or later when the template says so', () => {
    const pod = { containers: [{ name: 'worker', image: 'x' }] };
    expect(podSpecOf(makePool().longest(100).obj()).terminationGracePeriodSeconds).to.equal(130);
    const patient = makePool()
      .longest(100)
      .template({ spec: { ...pod, terminationGracePeriodSeconds: 500 } });
    expect(podSpecOf(patient.obj()).terminationGracePeriodSeconds).to.equal(500);
    const hasty = makePool()
      .longest(100)
      .template({ spec: { ...pod, terminationGracePeriodSeconds: 5 } });
    expect(podSpecOf(hasty.obj()).terminationGracePeriodSeconds).to.equal(130);
  });

  it('shows the last lines of a worker that fails, unless its container says otherwise', () => {
    expect(workerOf(makePool().obj()).terminationMessagePolicy).to.equal('FallbackToLogsOnError');
    expect(workerOf(makePool().worker({ terminationMessagePolicy: 'File' }).obj()).terminationMessagePolicy).to.equal(
      'File',
    );
  });

  it("keeps names of Muster's volumes for Muster", () => {
    const pool = makePool().template({
      spec: {
        containers: [
          { name: 'worker', image: 'x', volumeMounts: [{ name: 'muster-worker', mountPath: '/elsewhere' }] },
        ],
        volumes: [{ name: 'muster-worker', emptyDir: {} }],
      },
    });
    const { volumes } = podSpecOf(pool.obj());
    expect(volumes?.filter(({ name }) => name === 'muster-worker')).to.deep.equal([
      { name: 'muster-worker', configMap: { name: 'muster-worker-file' } },
    ]);
    expect(workerOf(pool.obj()).volumeMounts?.map(({ mountPath }) => mountPath)).to.deep.equal([
      '/muster/worker',
      '/muster/routes',
    ]);
  });

  it("keeps the user's labels, but for the one that ties a pod to its pool", () => {
    const labels = { 'app.kubernetes.io/name': 'shop', 'muster.dev/pool': 'other' };
    const spec = { containers: [{ name: 'worker', image: 'x' }] };
    const pool = makePool('a').template({ metadata: { labels }, spec }).obj();
    expect(buildDeployment(pool, context).spec?.template.metadata?.labels).to.include({
      'app.kubernetes.io/name': 'shop',
      'app.kubernetes.io/instance': 'a',
      'muster.dev/pool': 'a',
    });
  });
});

describe('buildCommand', () => {
  it('is the command of the contract with the worker', () => {
    const pool = makePool('reports').queue('a').queue('b').concurrency(4).app('shop.celery:app', 'gevent').obj();
    expect(buildCommand(pool)).to.deep.equal([
      ...['/bin/sh', '-c', 'export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}/muster/worker"; exec "$@"', 'muster'],
      ...['celery', '-A', 'shop.celery:app', 'worker', '-I', 'muster_worker', '-Q', 'a,b', '-c', '4', '-P', 'gevent'],
      ...['-n', 'reports@$(POD_NAME)', '--without-gossip', '--without-mingle', '--loglevel', 'INFO'],
    ]);
  });

  const prefetches = { Fair: 'fair', Unlimited: 'unlimited', Multiplier: '3' } as const;
  for (const [policy, want] of Object.entries(prefetches)) {
    it(`starts the Node worker, with prefetch ${policy}`, () => {
      const pool = makePool('images')
        .queue('a')
        .node('./tasks.js')
        .prefetch(policy as keyof typeof prefetches, policy === 'Multiplier' ? 3 : undefined)
        .longest(60)
        .obj();
      expect(buildCommand(pool)).to.deep.equal([
        ...['/bin/sh', '-c', 'export PATH="$PWD/node_modules/.bin:$PATH"; exec "$@"', 'muster', 'muster-worker'],
        ...['--tasks', './tasks.js', '--queues', 'a', '--concurrency', '1', '--prefetch', want, '--ack', 'early'],
        ...['--hostname', 'images@$(POD_NAME)', '--drain-seconds', '60', '--listen-address=', '--port', '8080'],
      ]);
    });
  }

  it("is not there for runtime custom: the template's own runs", () => {
    const pool = makePool()
      .custom()
      .worker({ command: ['run'], args: ['x'] })
      .obj();
    expect(buildCommand(pool)).to.equal(undefined);
    expect(workerOf(pool)).to.deep.include({ command: ['run'], args: ['x'] });
  });

  it('keeps a queue name that looks like a variable as it is', () => {
    expect(buildCommand(makePool().queue('$(HOME)').obj())).to.include('$$(HOME)');
  });
});

describe('escapeDollars', () => {
  it('doubles every dollar, which Kubernetes makes one again', () => {
    expect(escapeDollars('pa$$wo$(RD)')).to.equal('pa$$$$wo$$(RD)');
  });
});

describe('buildEnvironment', () => {
  const broker = { url: 'redis://:s3$$cret@redis/0' };
  const rows: Record<string, { pool: PoolBuilder; want: Record<string, string>; wantAbsent?: string[] }> = {
    'names pool, queues and slots': {
      pool: makePool('a').queue('x').queue('y').concurrency(3),
      want: {
        MUSTER_POOL: 'shop/a',
        MUSTER_QUEUES: 'x,y',
        MUSTER_CONCURRENCY: '3',
        MUSTER_ROUTES_FILE: '/muster/routes/routes.json',
      },
    },
    'leaves out what is not set': {
      pool: makePool(),
      want: { MUSTER_ACK_MODE: 'Early', MUSTER_LONGEST_TASK_SECONDS: '3600' },
      wantAbsent: [
        'MUSTER_KEY_PREFIX',
        'MUSTER_PRIORITY_STEPS',
        'MUSTER_VISIBILITY_TIMEOUT_SECONDS',
        'MUSTER_BROKER_CA_FILE',
      ],
    },
    'says a multiplier with policy Multiplier, 4 when none is given': {
      pool: makePool().prefetch('Multiplier'),
      want: { MUSTER_PREFETCH_POLICY: 'Multiplier', MUSTER_PREFETCH_MULTIPLIER: '4' },
    },
    'says no multiplier with another policy': {
      pool: makePool().prefetch('Unlimited'),
      want: { MUSTER_PREFETCH_POLICY: 'Unlimited' },
      wantAbsent: ['MUSTER_PREFETCH_MULTIPLIER'],
    },
    'passes on what the broker needs': {
      pool: makePool().broker({ ...broker, keyPrefix: '$p:', prioritySteps: [0, 3], visibilityTimeoutSeconds: 60 }),
      want: {
        CELERY_BROKER_URL: 'redis://:s3$$$$cret@redis/0',
        MUSTER_KEY_PREFIX: '$$p:',
        MUSTER_PRIORITY_STEPS: '0,3',
        MUSTER_VISIBILITY_TIMEOUT_SECONDS: '60',
      },
    },
  };
  for (const [name, { pool, want, wantAbsent }] of Object.entries(rows)) {
    it(name, () => {
      const values = valuesOf(pool);
      expect(values).to.include(want);
      for (const absent of wantAbsent ?? []) expect(values).to.not.have.property(absent);
    });
  }

  it('takes the URL from the Secret without ever having its value', () => {
    const pool = makePool().broker({ urlFrom: { secretKeyRef: { name: 'redis', key: 'url' } } });
    expect(buildEnvironment(pool.obj()).find(({ name }) => name === 'CELERY_BROKER_URL')).to.deep.equal({
      name: 'CELERY_BROKER_URL',
      valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } },
    });
  });
});

describe('mergeEnvironment', () => {
  const ours = [
    { name: 'POD_NAME', value: 'ours' },
    { name: 'MUSTER_QUEUES', value: 'ours' },
  ];

  it("puts Muster's variables first, so that the user's may refer to them", () => {
    expect(mergeEnvironment(ours, [{ name: 'WHO', value: '$(POD_NAME)' }]).map(({ name }) => name)).to.deep.equal([
      'POD_NAME',
      'MUSTER_QUEUES',
      'WHO',
    ]);
  });

  it("keeps names that are Muster's for Muster, set or not", () => {
    const users = [
      { name: 'POD_NAME', value: 'theirs' },
      { name: 'MUSTER_PREFETCH_MULTIPLIER', value: '9' },
    ];
    expect(mergeEnvironment(ours, users)).to.deep.equal(ours);
  });
});
