/**
 * The composition root: settings → API server → caches → brokers → controllers → servers → signals. It builds every
 * part and hands it what it needs; nothing else builds its own dependencies, and there is no other logic here.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Registry, collectDefaultMetrics } from 'prom-client';
import { workerPoolResource, type WorkerPool } from './api/v1alpha1/workerpool.ts';
import { poolLabel } from './plan/names.ts';
import { createBrokerMetrics } from './broker/metrics.ts';
import { createBrokers } from './broker/brokers.ts';
import { ConfigError, parseConfig, type Config } from './config.ts';
import { namespaceIndex, podIndex, requeuePools, watchPools } from './controllers/workerpool/controller.ts';
import {
  managedByMuster,
  toConfigMapRecord,
  toDeploymentRecord,
  toPodRecord,
  toPoolRecord,
} from './controllers/records.ts';
import { createRoutingReconcile } from './controllers/routing/reconcile.ts';
import { createRoutingTable } from './controllers/routing/table.ts';
import { createSecretReader } from './controllers/secrets.ts';
import { createSecretWatch } from './controllers/secretWatch.ts';
import { createSubscriptions } from './controllers/subscriptions.ts';
import { createPoolMemories } from './controllers/workerpool/memory.ts';
import { createPoolMetrics } from './controllers/workerpool/metrics.ts';
import { createPoolReconcile } from './controllers/workerpool/reconcile.ts';
import { createFleet } from './fleet/fleet.ts';
import { createFleetMetrics } from './fleet/metrics.ts';
import { createKubeClient, type KubeClient } from './kube/client.ts';
import { isKubeError } from './kube/errors.ts';
import { createEventRecorder } from './kube/events.ts';
import { createInformer } from './kube/informer.ts';
import { loadKubeConfig } from './kube/kubeconfig.ts';
import { createLeaderElection, type LeaderElection } from './kube/lease.ts';
import { createKubeMetrics, type KubeMetrics } from './kube/metrics.ts';
import { createTransport } from './kube/transport.ts';
import { resources } from './kube/types.ts';
import { systemClock as clock } from './runtime/clock.ts';
import { createController, type ControllerOptions } from './runtime/controller.ts';
import { createFreshness } from './runtime/freshness.ts';
import { createHealthServer } from './runtime/health.ts';
import { createLogger, type Logger } from './runtime/log.ts';
import { createManager, type Runnable } from './runtime/manager.ts';
import { createRuntimeMetrics } from './runtime/metrics.ts';
import { listenForShutdown } from './runtime/signals.ts';
import { createWorkQueue, type WorkQueue } from './runtime/workqueue.ts';

const version = process.env['MUSTER_VERSION'] ?? '0.1.0-dev';

const podName = process.env['POD_NAME'] ?? hostname();

/**
 * How long a read-your-own-writes wait lasts at most, a reconcile may take, and everything may take to stop; how often
 * Secrets are read again (ms).
 */
const limits = { freshnessMs: 5_000, reconcileMs: 30_000, secretsMs: 30_000, stopMs: 10_000 } as const;

/** Builds the operator and runs it until the signal aborts. Rejects when a part of it failed for good. */
async function run(config: Config, log: Logger, stop: AbortSignal): Promise<void> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // Gauges that are named like counters, which promtool objects to; each is the sum of a metric that stays.
  for (const what of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${what}_total`);
  const kubeMetrics = createKubeMetrics(registry);
  const runtimeMetrics = createRuntimeMetrics(registry);
  const transport = createTransport({
    kubeConfig: loadKubeConfig(),
    clock,
    log,
    metrics: kubeMetrics,
    userAgent: `muster/${version}`,
  });
  const client = createKubeClient(transport);

  const scope = {
    client,
    clock,
    log,
    metrics: kubeMetrics,
    ...(config.namespace === undefined ? {} : { namespace: config.namespace }),
  };
  const pools = createInformer<WorkerPool>({
    ...scope,
    resource: workerPoolResource,
    transform: toPoolRecord,
    indexers: { namespace: namespaceIndex },
  });
  const deployments = createInformer({ ...scope, resource: resources.deployments, transform: toDeploymentRecord });
  const pods = createInformer({
    ...scope,
    resource: resources.pods,
    labelSelector: poolLabel,
    transform: toPodRecord,
    indexers: { pool: podIndex },
  });
  const configMaps = createInformer({
    ...scope,
    resource: resources.configMaps,
    labelSelector: managedByMuster,
    transform: toConfigMapRecord,
    indexers: { namespace: namespaceIndex },
  });

  const poolQueue = createWorkQueue({ name: 'workerpool', clock, metrics: runtimeMetrics.queue('workerpool') });
  const routingQueue = createWorkQueue({ name: 'routing', clock, metrics: runtimeMetrics.queue('routing') });
  watchPools({ pools, deployments, pods, configMaps, poolQueue, routingQueue });
  const enqueuePool = (poolKey: string): void => poolQueue.add(poolKey);

  const brokers = createBrokers({
    clock,
    log,
    metrics: createBrokerMetrics(registry),
    tickMs: config.tickMs,
    fullReadMs: config.fullReadMs,
  });
  const fleet = createFleet({ clock, log, metrics: createFleetMetrics(registry) });
  const subscriptions = createSubscriptions({ brokers, fleet, enqueue: enqueuePool });
  const secrets = createSecretReader({ client, clock });
  const routing = createRoutingTable();
  const memories = createPoolMemories();
  const workerFile = await readFile(
    config.workerFile ?? fileURLToPath(new URL('../worker/celery/muster_worker.py', import.meta.url)),
    'utf8',
  );

  const controller = (
    name: string,
    queue: WorkQueue,
    workers: number,
    reconcile: ControllerOptions['reconcile'],
  ): Runnable => {
    const options = {
      name,
      queue,
      reconcile,
      workers,
      timeoutMs: limits.reconcileMs,
      clock,
      log,
      metrics: runtimeMetrics.controller(name),
    };
    return {
      name: `${name} controller`,
      ...createController({ ...options, isQuiet: (err) => isKubeError(err, 'conflict', 'expired', 'aborted') }),
    };
  };
  const poolMetrics = createPoolMetrics(registry);
  const reconcilePool = createPoolReconcile({
    client,
    pools,
    deployments,
    pods,
    secrets,
    subscriptions,
    fleet,
    routing,
    clock,
    events: createEventRecorder({
      client,
      clock,
      log,
      metrics: kubeMetrics,
      component: 'muster.dev/operator',
      instance: podName,
    }),
    caches: [pools, deployments],
    metrics: poolMetrics,
    memories,
    freshness: createFreshness({ clock, timeoutMs: limits.freshnessMs }),
  });
  const reconcileRouting = createRoutingReconcile({
    client,
    pools,
    configMaps,
    secrets,
    table: routing,
    workerFile,
    enqueuePool,
  });
  /** What only one replica may do at a time. Built anew each time this one becomes the leader. */
  const work = async (signal: AbortSignal): Promise<void> => {
    const loops = createManager({ clock, log, stopTimeoutMs: limits.stopMs });
    loops.add(controller('routing', routingQueue, 2, reconcileRouting));
    loops.add(controller('workerpool', poolQueue, config.workers, reconcilePool));
    loops.add(
      createSecretWatch({
        ...{ secrets, clock, log, everyMs: limits.secretsMs },
        pools: () => pools.list(),
        enqueue(poolKey, namespace) {
          routingQueue.add(namespace);
          poolQueue.add(poolKey);
        },
      }),
    );
    // When it has led before, nothing is subscribed and nothing is queued any more.
    requeuePools({ pools, poolQueue, routingQueue });
    await loops.run(signal);
    subscriptions.clear();
    memories.clear();
    poolMetrics.clear();
  };

  const caches = [pools, deployments, pods, configMaps];
  const leader = config.leaderElect
    ? createElection({ config, client, log, metrics: kubeMetrics, onStarted: work })
    : undefined;
  const manager = createManager({ clock, log, stopTimeoutMs: limits.stopMs });
  manager.add(
    createHealthServer({
      host: config.listenAddress,
      port: config.port,
      healthChecks: [
        {
          name: 'lease',
          check: () => leader === undefined || leader.isHealthy() || 'leads by a lease that is overdue',
        },
      ],
      readyChecks: caches.map((cache) => ({
        name: cache.resource.plural,
        check: () => cache.hasSynced() || 'not listed yet',
      })),
      registry,
      log,
    }),
  );
  for (const cache of caches)
    manager.add({
      name: `${cache.resource.plural} cache`,
      run: (signal) => cache.run(signal),
      ready: (signal) => cache.synced(signal),
    });
  manager.add(
    leader === undefined
      ? { name: 'work', run: work }
      : { name: 'leader election', run: (signal) => leader.run(signal) },
  );
  log.info('started', { version, ...config });
  try {
    await manager.run(stop);
  } finally {
    await Promise.all([brokers.close(), fleet.close(), transport.close()]);
  }
}

/** Several replicas, one at work: the one that holds the Lease. */
function createElection(deps: {
  config: Config;
  client: KubeClient;
  log: Logger;
  metrics: KubeMetrics;
  onStarted: (signal: AbortSignal) => Promise<void>;
}): LeaderElection {
  const { config, ...rest } = deps;
  return createLeaderElection({
    ...rest,
    clock,
    namespace: config.leaseNamespace ?? process.env['POD_NAMESPACE'] ?? 'default',
    name: config.leaseName,
    identity: `${podName}-${randomUUID().slice(0, 8)}`,
  });
}

/** Settings, signals and the exit code around `run`. */
async function main(): Promise<number> {
  const parsed = parseConfig(process.argv.slice(2), version);
  if (parsed.kind === 'text') {
    process.stdout.write(parsed.text);
    return 0;
  }
  const log = createLogger(parsed.config.logLevel);
  const shutdown = listenForShutdown(log);
  try {
    await run(parsed.config, log, shutdown.signal);
    log.info('stopped');
    return 0;
  } catch (err) {
    log.error('the operator cannot run', { err });
    return 1;
  } finally {
    shutdown.dispose();
    await log.close();
  }
}

try {
  process.exitCode = await main();
} catch (err) {
  if (!(err instanceof ConfigError)) throw err;
  process.stderr.write(`muster-operator: ${err.message}\n`);
  process.exitCode = 2;
}
