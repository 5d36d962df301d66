/** A namespace with a Redis of its own, in which one test file plays. */
import { eventually } from '../../support/eventually.ts';
import { useEnvironment, type Environment } from './environment.ts';

/** The parts of a pool's status that tests read. */
export interface PoolStatus {
  readonly desiredReplicas?: number;
  readonly readyReplicas?: number;
  readonly tasks?: { readonly waiting?: number; readonly running?: number; readonly held?: number };
  readonly lastDecision?: { readonly from: number; readonly to: number; readonly reason: string };
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
}

/** A namespace under test. */
export interface Shop {
  readonly namespace: string;
  readonly environment: Environment;
  /** kubectl in this namespace. */
  kubectl(...args: string[]): Promise<string>;
  /** `kubectl apply` of objects. */
  apply(...objects: object[]): Promise<void>;
  /** Runs redis-cli in the Redis pod and resolves to what it prints. */
  redis(...args: string[]): Promise<string>;
  status(pool: string): Promise<PoolStatus>;
  /** `spec.replicas` of the pool's Deployment. */
  replicas(pool: string): Promise<number>;
  /** A condition of a pool, as `Type=Status/Reason message`. */
  condition(pool: string, type: string): Promise<string>;
  /** Deletes the namespace and waits until it is gone. */
  close(): Promise<void>;
}

/** Makes the namespace, its Redis, and the Secret `redis` with the key `url`. */
export async function openShop(namespace: string): Promise<Shop> {
  const environment = await useEnvironment();
  const kubectl = (...args: string[]): Promise<string> => environment.kubectl(['--namespace', namespace, ...args]);
  await environment.kubectl(['create', 'namespace', namespace]);
  await kubectl('create', 'deployment', 'redis', `--image=${environment.images.redis}`, '--port=6379');
  await kubectl('expose', 'deployment', 'redis');
  await kubectl('wait', '--for=condition=Available', 'deployment/redis', '--timeout=120s');
  const address = await kubectl('get', 'service', 'redis', '--output', 'jsonpath={.spec.clusterIP}');
  await kubectl('create', 'secret', 'generic', 'redis', `--from-literal=url=redis://${address}:6379/0`);
  const status = async (pool: string): Promise<PoolStatus> => {
    const pooled = JSON.parse(await kubectl('get', 'workerpool', pool, '--output', 'json')) as { status?: PoolStatus };
    return pooled.status ?? {};
  };
  return {
    namespace,
    environment,
    kubectl,
    apply: async (...objects) => {
      const items = objects.map((object) => JSON.stringify(object)).join('\n---\n');
      await environment.kubectl(['--namespace', namespace, 'apply', '--filename', '-'], items);
    },
    redis: (...args) => kubectl('exec', 'deployment/redis', '--', 'redis-cli', ...args),
    status,
    replicas: async (pool) => Number(await kubectl('get', 'deployment', pool, '--output', 'jsonpath={.spec.replicas}')),
    condition: async (pool, type) => {
      const found = (await status(pool)).conditions?.find((condition) => condition.type === type);
      return found === undefined ? '' : `${found.type}=${found.status}/${found.reason} ${found.message}`;
    },
    close: async () => {
      await environment.kubectl(['delete', 'namespace', namespace, '--wait=false']);
      await eventually(
        async () => (await environment.kubectl(['get', 'namespace', namespace, '--ignore-not-found'])) === '',
        {
          timeoutMs: 120_000,
          intervalMs: 500,
        },
      );
    },
  };
}

/** Prints what a person would look at first when a test in this namespace has failed. */
export async function describeFailure(shop: Shop): Promise<void> {
  const looks = [
    ['get', 'workerpools,deployments,pods', '--output', 'wide'],
    ['get', 'workerpools', '--output', 'jsonpath={range .items[*]}{.metadata.name}: {.status}{"\\n"}{end}'],
    ['get', 'events.events.k8s.io'],
    ['logs', '--selector', 'app.kubernetes.io/managed-by=muster', '--prefix', '--tail=60'],
  ];
  for (const look of looks) {
    process.stderr.write(`\n$ kubectl ${look.join(' ')}\n${await shop.kubectl(...look).catch(String)}\n`);
  }
}

/** A pool of the test application, with what a test wants to be different in its spec. */
export function makeGatedPool(shop: Shop, name: string, spec: object = {}): object {
  return {
    apiVersion: 'muster.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name },
    spec: {
      broker: { urlFrom: { secretKeyRef: { name: 'redis', key: 'url' } } },
      queues: [{ name, tasks: ['gated.*'] }],
      runtime: { celery: { app: 'e2e_app:app' } },
      concurrency: 2,
      longestTaskSeconds: 120,
      scaling: { maxReplicas: 5, tasksPerReplica: 10, idleSeconds: 5 },
      template: { spec: { containers: [{ name: 'worker', image: shop.environment.images.app }] } },
      ...spec,
    },
  };
}

/** A pod that runs the plain producer once, with the namespace's routing table mounted. */
export async function send(shop: Shop, task: string, count: number): Promise<void> {
  const table = await shop.kubectl(
    ...['get', 'configmap', '--selector', 'app.kubernetes.io/managed-by=muster', '--output', 'name'],
  );
  const routes = table
    .split('\n')
    .find((name) => name.startsWith('configmap/muster-routes-'))
    ?.slice('configmap/'.length);
  const name = `send-${task.replaceAll('.', '-')}-${Math.random().toString(36).slice(2, 8)}`;
  await shop.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'producer',
          image: shop.environment.images.app,
          command: ['python3', 'send.py', task, String(count)],
          env: [
            { name: 'CELERY_BROKER_URL', valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } } },
            { name: 'ROUTES_FILE', value: '/routes/routes.json' },
          ],
          volumeMounts: [{ name: 'routes', mountPath: '/routes' }],
        },
      ],
      volumes: [{ name: 'routes', configMap: { name: routes } }],
    },
  });
  await shop.kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', `pod/${name}`, '--timeout=60s');
}
