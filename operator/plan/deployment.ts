/**
 * The Deployment of a pool, as it is applied. Pure. It never carries `replicas`: the size has a field manager of its
 * own (the scaler, through `/scale`), and an apply that once had it and then leaves it out resets it to 1.
 */
import { shutdownMarginSeconds } from '../api/v1alpha1/defaults.ts';
import { workerContainer } from '../api/v1alpha1/template.ts';
import type { WorkerPool } from '../api/v1alpha1/workerpool.ts';
import type { ObjectMeta, RawContainer, RawDeployment, RawPodSpec, RawPodTemplateSpec } from '../kube/types.ts';
import { buildCommand } from './command.ts';
import { buildEnvironment, mergeEnvironment } from './environment.ts';
import { nodeWorkerPort, ownerReference, paths, poolLabel, poolLabels, workerFileConfigMapName } from './names.ts';

/** What a Deployment is made from beside the pool. */
export interface DeploymentContext {
  /** Name of the ConfigMap with the routing table of the pool's broker. */
  readonly routesConfigMap: string;
  /** True only in the very first apply, so that the default of one replica starts no pod. */
  readonly paused: boolean;
}

/** A Deployment as it is applied. */
export type DeploymentBody = RawDeployment & {
  readonly metadata: ObjectMeta & { readonly name: string; readonly namespace: string };
};

/**
 * How long a pod must live without ending before a rollout goes on. A worker without a readiness probe is ready the
 * moment it runs, also one that cannot import its app and ends a second later; a rollout would replace every good pod by it.
 */
const minReadySeconds = 10;

/** Builds the Deployment. */
export function buildDeployment(pool: WorkerPool, context: DeploymentContext): DeploymentBody {
  const { name, namespace } = pool.metadata;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels: poolLabels(pool), ownerReferences: [ownerReference(pool, true)] },
    spec: {
      ...(context.paused ? { paused: true } : {}),
      selector: { matchLabels: { [poolLabel]: name } },
      // A new pod first, then an old one goes: capacity never falls, and old pods finish their tasks meanwhile.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: 0 } },
      minReadySeconds,
      template: buildPodTemplate(pool, context),
    },
  };
}

function buildPodTemplate(pool: WorkerPool, context: DeploymentContext): RawPodTemplateSpec {
  const { metadata } = pool.spec.template;
  return {
    metadata: {
      // The user's labels win, for policies may select by them; but for the one that ties a pod to its pool.
      labels: { ...poolLabels(pool), ...metadata?.labels, [poolLabel]: pool.metadata.name },
      ...(metadata?.annotations === undefined ? {} : { annotations: metadata.annotations }),
    },
    spec: buildPodSpec(pool, context),
  };
}

function buildPodSpec(pool: WorkerPool, context: DeploymentContext): RawPodSpec {
  const users = pool.spec.template.spec as unknown as RawPodSpec;
  const mounts = buildMounts(pool, context);
  const graceSeconds = pool.spec.longestTaskSeconds + shutdownMarginSeconds;
  return {
    ...users,
    terminationGracePeriodSeconds: Math.max(graceSeconds, users.terminationGracePeriodSeconds ?? 0),
    containers: users.containers.map((container) =>
      container.name === workerContainer ? buildWorker(pool, container, mounts) : container,
    ),
    volumes: [
      ...mounts.map(({ volume }) => volume),
      ...(users.volumes ?? []).filter(({ name }) => !mounts.some(({ volume }) => volume.name === name)),
    ],
  };
}

/**
 * A Node worker says itself whether it is connected (ready) and whether its event loop turns (live): one that is stuck for a
 * minute runs nothing and answers nobody. A template with probes of its own keeps them.
 */
const nodeProbes = {
  ports: [{ name: 'muster', containerPort: nodeWorkerPort }],
  readinessProbe: { httpGet: { path: '/readyz', port: nodeWorkerPort }, periodSeconds: 5 },
  livenessProbe: {
    httpGet: { path: '/healthz', port: nodeWorkerPort },
    ...{ initialDelaySeconds: 20, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
  },
};

function buildWorker(pool: WorkerPool, users: RawContainer, mounts: readonly Mount[]): RawContainer {
  const command = buildCommand(pool);
  return {
    // The last lines of a worker that fails become its last words, which the status of the pool shows.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    ...(pool.spec.runtime.node === undefined ? {} : nodeProbes),
    ...users,
    ...(command === undefined ? {} : { command }),
    env: mergeEnvironment(buildEnvironment(pool), users.env ?? []),
    volumeMounts: [
      ...mounts.map(({ volume, path }) => ({ name: volume.name, mountPath: path, readOnly: true })),
      ...(users.volumeMounts ?? []).filter(({ name }) => !mounts.some(({ volume }) => volume.name === name)),
    ],
  };
}

/** A folder of Muster's in the worker container. */
interface Mount {
  readonly path: string;
  readonly volume: NonNullable<RawPodSpec['volumes']>[number];
}

function buildMounts(pool: WorkerPool, context: DeploymentContext): Mount[] {
  const ca = pool.spec.broker.tls?.caFrom?.secretKeyRef;
  return [
    ...(pool.spec.runtime.celery === undefined
      ? []
      : [{ path: paths.worker, volume: { name: 'muster-worker', configMap: { name: workerFileConfigMapName } } }]),
    // Optional: a worker without a routing table works, and only sends its own tasks as its app says.
    {
      path: paths.routes,
      volume: { name: 'muster-routes', configMap: { name: context.routesConfigMap, optional: true } },
    },
    ...(ca === undefined
      ? []
      : [
          {
            path: paths.tls,
            volume: { name: 'muster-tls', secret: { secretName: ca.name, items: [{ key: ca.key, path: 'ca.crt' }] } },
          },
        ]),
  ];
}
