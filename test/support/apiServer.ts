/**
 * What tests of the Kubernetes client start from: a real control plane, one client straight to it, and as many more as
 * a test wants through a fault proxy.
 */
import { Registry } from 'prom-client';
import type { KubeConfig } from '@kubernetes/client-node';
import { startControlPlane, type ControlPlane } from '../../dev/cluster/controlPlane.ts';
import { createKubeClient, type KubeClient } from '../../operator/kube/client.ts';
import { isKubeError } from '../../operator/kube/errors.ts';
import { loadKubeConfig } from '../../operator/kube/kubeconfig.ts';
import { createKubeMetrics, type KubeMetrics } from '../../operator/kube/metrics.ts';
import { createTransport, type TransportOptions } from '../../operator/kube/transport.ts';
import { resources, type RawConfigMap } from '../../operator/kube/types.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { eventually } from './eventually.ts';
import { silentLog } from './silentLog.ts';

/** A client with what it was built from. */
export interface TestClient {
  readonly client: KubeClient;
  readonly registry: Registry;
  readonly metrics: KubeMetrics;
  close(): Promise<void>;
}

/** A running API server and a client to it. */
export interface TestApiServer extends TestClient {
  readonly cluster: ControlPlane;
  readonly kubeConfig: KubeConfig;
  /** Creates a namespace with a name of its own and resolves to it. */
  namespace(): Promise<string>;
  /** Ends the clients of `connect` and the control plane. */
  stop(): Promise<void>;
  /** Another client, closed by `stop`. */
  connect(kubeConfig: KubeConfig, options?: Partial<TransportOptions>): TestClient;
}

/** Builds a client. Waits between retries are short: a test is about what happens, not how long it takes. */
export function connectTo(kubeConfig: KubeConfig, options: Partial<TransportOptions> = {}): TestClient {
  const registry = new Registry();
  const metrics = createKubeMetrics(registry);
  const transport = createTransport({
    kubeConfig,
    clock: systemClock,
    log: silentLog,
    metrics,
    userAgent: 'muster/test',
    ...options,
    limits: { baseMs: 10, ...options.limits },
  });
  return { client: createKubeClient(transport), registry, metrics, close: () => transport.close() };
}

/** Starts a control plane for a test file: call it in `before`, and `stop` in `after`. */
export async function startApiServer(): Promise<TestApiServer> {
  const cluster = await startControlPlane();
  const kubeConfig = loadKubeConfig({ path: cluster.kubeconfigPath });
  const direct = connectTo(kubeConfig);
  const clients = [direct];
  let namespaces = 0;
  return {
    ...direct,
    cluster,
    kubeConfig,
    connect: (config, options) => {
      const connected = connectTo(config, options);
      clients.push(connected);
      return connected;
    },
    namespace: async () => {
      const name = `test-${(namespaces += 1)}`;
      await direct.client.create(resources.namespaces, undefined, { metadata: { name } });
      return name;
    },
    stop: async () => {
      await Promise.all(clients.map((each) => each.close()));
      await cluster.stop();
    },
  };
}

/** Applies a ConfigMap with one value, the simplest object there is. */
export function applyConfigMap(
  client: KubeClient,
  namespace: string,
  name: string,
  value: string,
  labels: Record<string, string> = {},
): Promise<RawConfigMap> {
  const body = { metadata: { namespace, name, labels }, data: { value } };
  return client.apply<RawConfigMap>(resources.configMaps, body, { fieldManager: 'test' });
}

/** Deletes a ConfigMap, if it is there. */
export async function deleteConfigMap(client: KubeClient, namespace: string, name: string): Promise<void> {
  await client.delete(resources.configMaps, namespace, name).catch((err: unknown) => {
    if (!isKubeError(err, 'notFound')) throw err;
  });
}

/** Waits until the API server takes writes again, after a restart. */
export async function untilWritable(client: KubeClient, namespace: string): Promise<void> {
  await eventually(() => applyConfigMap(client, namespace, 'probe', String(performance.now())), { timeoutMs: 30_000 });
}
