// What users and other controllers do with pools on a real API server: kubectl's words, the scale subresource, two
// writers of one status; and whether the API server takes every object that is rendered from a pool.
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { execa } from 'execa';
import { parse } from 'yaml';
import { ensureBinaries } from '../../dev/cluster/binaries.ts';
import { sayOnStderr } from '../../dev/install/progress.ts';
import { formatTime } from '../../operator/api/v1alpha1/conditions.ts';
import { readWorkerPool } from '../../operator/api/v1alpha1/defaults.ts';
import { workerPoolApiVersion, workerPoolResource, type WorkerPool } from '../../operator/api/v1alpha1/workerpool.ts';
import { resources, type KubeObject, type RawDeployment } from '../../operator/kube/types.ts';
import { buildDeployment } from '../../operator/plan/deployment.ts';
import { buildStatus } from '../../operator/plan/status.ts';
import { known } from '../../operator/signals/known.ts';
import { startApiServer, type TestApiServer } from '../support/apiServer.ts';
import { makePool, type PoolBuilder } from '../support/builders.ts';
import { eventually } from '../support/eventually.ts';
import { installDefinition } from './crd/install.ts';

const goldenFolder = new URL('../golden/plan/', import.meta.url);

describe('pools on a real API server', () => {
  let api: TestApiServer;
  let namespace: string;
  let kubectlPath: string;

  before(async () => {
    kubectlPath = (await ensureBinaries(['kubectl'], sayOnStderr)).kubectl;
    api = await startApiServer();
    await installDefinition(api);
    namespace = await api.namespace();
  });
  after(() => api.stop());

  const kubectl = async (...args: string[]): Promise<string> => {
    const flags = ['--kubeconfig', api.cluster.kubeconfigPath, '--namespace', namespace];
    return (await execa(kubectlPath, [...flags, ...args])).stdout;
  };

  const create = async (builder: PoolBuilder): Promise<WorkerPool> => {
    const manifest = builder.namespace(namespace).manifest();
    const read = readWorkerPool(
      await api.client.create(workerPoolResource, namespace, manifest, { fieldManager: 'user' }),
    );
    if (read.kind !== 'ok') throw new Error(read.message);
    return read.pool;
  };

  const applyStatus = (name: string, status: object, fieldManager: string): Promise<WorkerPool> => {
    const body = { apiVersion: workerPoolApiVersion, kind: 'WorkerPool', metadata: { name, namespace }, status };
    return api.client.apply<WorkerPool>(workerPoolResource, body, { fieldManager, subresource: 'status' });
  };

  const wellStatus = (pool: WorkerPool) =>
    buildStatus(
      {
        pool,
        previous: pool.status,
        broker: { kind: 'ok', display: 'redis:6379/0', state: { kind: 'ok', tracking: 'push' } },
        deployment: { desiredReplicas: 3, replicas: 3 },
        deploymentProblem: undefined,
        pods: { ready: 3, starting: 0, terminating: 0, workerRunning: new Map(), settled: new Set() },
        tasks: { waiting: known(12), running: known(5), held: known(2) },
        queues: [{ name: 'celery', ready: known(12), running: known(5), held: known(2) }],
        decision: { replicas: 3, reason: 'Steady', message: '' },
        lastDecision: { time: formatTime(0), from: 0, to: 3, reason: 'Backlog', inputs: { waiting: 12 } },
        routing: { routesConfigMap: 'muster-routes-0', conflicts: [] },
        workerProblems: [],
        silentPods: [],
      },
      Date.UTC(2026, 0, 1),
    );

  it('are explained by kubectl, field by field, with defaults', async () => {
    // The API server publishes the schema of a definition a moment after it established it.
    await eventually(() => kubectl('explain', 'wp'));
    const prefetch = (await kubectl('explain', 'wp.spec.prefetch')).replaceAll(/\s+/g, ' ');
    expect(prefetch).to.include('How many messages a worker may hold.').and.include('policy <string>');
    expect(prefetch).to.include('enum: Multiplier, Fair, Unlimited').and.include('Default: Fair.');
    const all = await kubectl('explain', 'wp', '--recursive');
    for (const field of ['visibilityTimeoutSeconds', 'tasksPerReplica', 'lastDecision']) expect(all).to.include(field);
  });

  it('get every default from the API server that the operator would fill in', async () => {
    const pool = await create(makePool('defaults'));
    expect(pool.spec).to.deep.equal(makePool('defaults').obj().spec);
  });

  it('show what matters in kubectl get wp', async () => {
    const pool = await create(makePool('columns').concurrency(4).prefetch('Unlimited').ack('Late'));
    await applyStatus('columns', wellStatus(pool), 'muster-status');
    const wide = await kubectl('get', 'wp', 'columns', '-o', 'wide');
    const [head = '', row = ''] = wide.split('\n').map((line) => line.trim().split(/\s+/).join(' '));
    expect(head).to.equal('NAME READY DESIRED MAX WAITING RUNNING HELD SLOTS PREFETCH ACK REASON AGE');
    expect(row).to.match(/^columns 3 3 10 12 5 2 4 Unlimited Late Running \d+s$/);
    expect((await kubectl('get', 'muster')).split('\n')[0]).to.match(
      /NAME +READY +DESIRED +MAX +WAITING +RUNNING +REASON +AGE/,
    );
  });

  it('take a size from kubectl scale and give it back', async () => {
    const pool = await create(makePool('scaled'));
    await applyStatus('scaled', wellStatus(pool), 'muster-status');
    await kubectl('scale', 'wp/scaled', '--replicas=3');
    const scaled = await api.client.get<WorkerPool>(workerPoolResource, namespace, 'scaled');
    expect(scaled.spec.replicas).to.equal(3);
    const scale = JSON.parse(await kubectl('get', 'wp/scaled', '--subresource=scale', '-o', 'json')) as {
      spec: object;
      status: object;
    };
    expect(scale.spec).to.deep.equal({ replicas: 3 });
    expect(scale.status).to.deep.equal({ replicas: 3, selector: 'muster.dev/pool=scaled' });
  });

  it('keep the conditions of two writers apart, and lose a hazard that is not applied any more', async () => {
    const pool = await create(makePool('writers').prefetch('Unlimited'));
    const foreign = {
      type: 'Audited',
      status: 'True',
      lastTransitionTime: formatTime(0),
      reason: 'Seen',
      message: 'seen',
    };
    await applyStatus('writers', { conditions: [foreign] }, 'auditor');
    const hazardous = await applyStatus('writers', wellStatus(pool), 'muster-status');
    const types = ({ status }: WorkerPool): string[] => (status?.conditions ?? []).map(({ type }) => type);
    expect(types(hazardous)).to.have.members([
      'Audited',
      'Ready',
      'BrokerReachable',
      'Scaling',
      'Routed',
      'PrefetchHazard',
    ]);
    const mended: WorkerPool = { ...pool, spec: { ...pool.spec, prefetch: { policy: 'Fair' } } };
    expect(types(await applyStatus('writers', wellStatus(mended), 'muster-status'))).to.have.members([
      'Audited',
      'Ready',
      'BrokerReachable',
      'Scaling',
      'Routed',
    ]);
  });

  it('keep the status that was built, to the letter, and stand still when it is applied again', async () => {
    const pool = await create(makePool('letter'));
    const status = wellStatus(pool);
    const first = await applyStatus('letter', status, 'muster-status');
    expect(first.status).to.deep.equal(status);
    const second = await applyStatus('letter', status, 'muster-status');
    expect(second.metadata.resourceVersion).to.equal(first.metadata.resourceVersion);
  });

  describe('rendered', () => {
    const kinds = { Deployment: resources.deployments, ConfigMap: resources.configMaps } as const;
    for (const file of readdirSync(goldenFolder).filter((name) => !name.startsWith('status-'))) {
      it(`${file} is taken by the API server as it is`, async () => {
        const object = parse(readFileSync(new URL(file, goldenFolder), 'utf8')) as KubeObject & {
          kind: keyof typeof kinds;
        };
        const body = { ...object, metadata: { ...object.metadata, namespace } };
        await api.client.apply(kinds[object.kind], body, { fieldManager: 'muster-workerpool', dryRun: true });
      });
    }

    it('Deployments stand still when they are applied again', async () => {
      const pool = await create(makePool('still').queue('a', 'a.*').longest(60));
      const body = buildDeployment(pool, { routesConfigMap: 'muster-routes-0', paused: true });
      const apply = (): Promise<RawDeployment> =>
        api.client.apply<RawDeployment>(resources.deployments, body, { fieldManager: 'muster-workerpool' });
      const first = await apply();
      // Others write its status meanwhile, so what stands still is the generation.
      expect((await apply()).metadata.generation).to.equal(first.metadata.generation);
      expect(first.spec?.template.spec?.terminationGracePeriodSeconds).to.equal(90);
    });
  });
});
