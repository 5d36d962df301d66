// What stands in the cluster before the first pool: the operator from its chart, and Redis with its URL in a Secret.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target, TargetDeps } from './target.ts';
import { ToolError, type Tools } from './tools.ts';

const CHART = join(import.meta.dirname, '../../charts/muster');

/** Installs the operator, unless one serves the cluster already, and waits until it is ready. */
export async function installOperator({ steps }: TargetDeps, { tools, operator }: Target): Promise<void> {
  const { namespace, values } = operator;
  if (values === undefined) return;
  await steps.run('helm install muster charts/muster', 8, async () => {
    const install = tools.helm([
      ...['upgrade', '--install', 'muster', CHART, '--namespace', namespace, '--create-namespace'],
      // One replica: a fail-over is nothing that this demo shows.
      ...['--set', 'replicas=1', '--wait', '--timeout', '150s', ...values],
    ]);
    await explained(install, tools, namespace, 'app.kubernetes.io/name=muster-operator');
  });
}

/** Starts Redis and writes its URL into the Secret that the pools name. */
export async function installRedis({ steps }: TargetDeps, target: Target): Promise<void> {
  const { tools, namespace, images } = target;
  await steps.run('Redis: pod, Service, Secret', 5, async () => {
    await applyManifest(target, 'redis', { redisImage: images.redis });
    // Its address and not its name: the cluster that the demo starts has no DNS.
    const address = await tools.kubectl(
      inNamespace(namespace, 'get', 'service', 'redis', '--output', 'jsonpath={.spec.clusterIP}'),
    );
    const url = `redis://${address.includes(':') ? `[${address}]` : address}:6379/0`;
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'redis' }, stringData: { url } };
    await tools.kubectl(inNamespace(namespace, 'apply', '--filename', '-'), JSON.stringify(secret));
    const wait = inNamespace(namespace, 'wait', '--for=condition=Ready', 'pod/redis', '--timeout=150s');
    await explained(tools.kubectl(wait), tools, namespace, 'app=redis');
  });
}

/** Waits for `work`. When it fails, and its pods say why, that is the error: helm and kubectl only say that time is up. */
async function explained(work: Promise<unknown>, tools: Tools, namespace: string, selector: string): Promise<void> {
  try {
    await work;
  } catch (err) {
    const waiting = 'jsonpath={.items[*].status.containerStatuses[*].state.waiting.message}';
    const query = inNamespace(namespace, 'get', 'pods', '--selector', selector, '--output', waiting);
    const why = await tools.kubectl(query).catch(() => '');
    throw why === '' ? err : new ToolError(why, { cause: err });
  }
}

/** Applies `manifests/<name>.yaml` with its `{{ placeholders }}` filled. */
export async function applyManifest(
  { tools, namespace }: Target,
  name: string,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const text = await readFile(join(import.meta.dirname, 'manifests', `${name}.yaml`), 'utf8');
  const filled = text.replaceAll(/\{\{ (\w+) \}\}/g, (_, key: string) => values[key] ?? '');
  await tools.kubectl(inNamespace(namespace, 'apply', '--filename', '-'), filled);
}

/** The arguments of a kubectl command in a namespace. */
export function inNamespace(namespace: string, ...args: readonly string[]): string[] {
  return ['--namespace', namespace, ...args];
}
