/**
 * Where the end-to-end tests run: a real cluster with the operator installed from its chart, under its own RBAC. On this
 * machine (root on Linux) a cluster is started and taken down; with KUBECONFIG the user's own is used, and the images
 * must be there already.
 */
import { execa } from 'execa';
import { fileURLToPath } from 'node:url';
import { ensureBinary } from '../../../dev/cluster/binaries.ts';
import { downCluster, upCluster } from '../../../dev/cluster/cluster.ts';
import { ensureBaseImage } from '../../../dev/images/baseImages.ts';
import { baseImageArchive, buildImage, importImage, type BuiltImage } from '../../../dev/images/images.ts';
import { buildNodeExample } from '../../support/nodeExample.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const clusterName = 'e2e';

/** The cluster under test. */
export interface Environment {
  /** Runs kubectl; resolves to what it prints, rejects with what it says when it fails. `input` goes to its stdin. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Runs helm. */
  helm(args: readonly string[]): Promise<string>;
  readonly images: { readonly app: string; readonly shop: string; readonly node: string; readonly redis: string };
  /** Values of the operator's image for helm, as `--set` arguments. */
  readonly imageValues: readonly string[];
}

/** Namespace and release name of the operator. */
export const operatorNamespace = 'muster-system';
export const chart = `${root}charts/muster`;

let environment: Promise<Environment> | undefined;

/** The environment of this test run, made on first use. */
export function useEnvironment(): Promise<Environment> {
  environment ??= prepare();
  return environment;
}

/** Takes everything down again; for mocha's global teardown. */
export async function releaseEnvironment(): Promise<void> {
  if (environment === undefined) return;
  const used = await environment.catch(() => undefined);
  if (process.env['KUBECONFIG_OF_USER'] === undefined) await downCluster(clusterName, () => undefined);
  else await used?.helm(['uninstall', 'muster', '--namespace', operatorNamespace]);
}

async function prepare(): Promise<Environment> {
  const users = process.env['KUBECONFIG'];
  if (users !== undefined && users !== '') process.env['KUBECONFIG_OF_USER'] = users;
  const { kubeconfig, images, imageValues } =
    users === undefined || users === '' ? await prepareOwn() : usersOwn(users);
  const [kubectl, helm] = await Promise.all([ensureBinary('kubectl'), ensureBinary('helm')]);
  const env = { KUBECONFIG: kubeconfig };
  const run = async (program: string, args: readonly string[], input?: string): Promise<string> => {
    const { stdout } = await execa(program, [...args], {
      env,
      ...(input === undefined ? { stdin: 'ignore' } : { input }),
    });
    return stdout;
  };
  const made: Environment = {
    kubectl: (args, input) => run(kubectl, args, input),
    helm: (args) => run(helm, args),
    images,
    imageValues,
  };
  await made.helm([
    ...[
      'upgrade',
      '--install',
      'muster',
      chart,
      '--namespace',
      operatorNamespace,
      '--create-namespace',
      '--wait',
      '--timeout',
      '180s',
    ],
    ...imageValues,
  ]);
  return made;
}

interface Prepared {
  readonly kubeconfig: string;
  readonly images: Environment['images'];
  readonly imageValues: readonly string[];
}

async function prepareOwn(): Promise<Prepared> {
  const cluster = await upCluster({ name: clusterName, node: true });
  await execa('npm', ['run', '--silent', 'build'], { cwd: root, stdin: 'ignore' });
  const [node, python] = [await ensureBaseImage('base-node'), await ensureBaseImage('base-python')];
  const app = `${root}test/e2e/app`;
  const shop = `${root}examples/celery-app`;
  for (const image of [
    await buildImage({
      dockerfile: `${root}Dockerfile`,
      context: root,
      buildArgs: { BASE: node },
      tag: 'muster/operator:e2e',
    }),
    await buildImage({
      dockerfile: `${app}/Dockerfile`,
      context: app,
      buildArgs: { BASE: python },
      tag: 'e2e-app:dev',
    }),
    await buildImage({ dockerfile: `${shop}/Dockerfile`, context: shop, buildArgs: { BASE: python }, tag: 'shop:1' }),
    await nodeImage(node),
    await baseImageArchive('redis'),
  ]) {
    await importImage(cluster, image);
  }
  return {
    kubeconfig: cluster.kubeconfigPath,
    images: { app: 'e2e-app:dev', shop: 'shop:1', node: 'node-worker:1', redis: 'muster.local/redis:dev' },
    imageValues: ['--set', 'image.repository=muster/operator', '--set', 'image.tag=e2e'],
  };
}

/** The image of examples/node-worker, by the commands of its README. */
async function nodeImage(base: string): Promise<BuiltImage> {
  const example = await buildNodeExample();
  const { dir } = example;
  try {
    await execa('sh', ['-c', example.command('npm prune')], { cwd: dir, stdin: 'ignore' });
    return await buildImage({
      dockerfile: `${dir}/Dockerfile`,
      context: dir,
      buildArgs: { BASE: base },
      tag: 'node-worker:1',
    });
  } finally {
    await example.remove();
  }
}

/** A cluster of the user's: the images must have been pushed to where it can pull them. */
function usersOwn(kubeconfig: string): Prepared {
  const named = (name: string, what: string): string => {
    const value = process.env[name];
    if (value === undefined || value === '') {
      throw new Error(
        `with KUBECONFIG set ${name} must name ${what}, in a registry that the cluster can pull from (see CONTRIBUTING.md)`,
      );
    }
    return value;
  };
  const operator = named('MUSTER_E2E_OPERATOR_IMAGE', 'the operator image, built from Dockerfile');
  const colon = operator.lastIndexOf(':');
  return {
    kubeconfig,
    images: {
      app: named('MUSTER_E2E_APP_IMAGE', 'the image built from test/e2e/app/Dockerfile'),
      shop: named('MUSTER_E2E_SHOP_IMAGE', 'the image built from examples/celery-app/Dockerfile'),
      node: named('MUSTER_E2E_NODE_IMAGE', 'the image built from examples/node-worker/Dockerfile'),
      redis: process.env['MUSTER_E2E_REDIS_IMAGE'] ?? 'redis:7',
    },
    imageValues: [
      '--set',
      `image.repository=${operator.slice(0, colon)}`,
      '--set',
      `image.tag=${operator.slice(colon + 1)}`,
    ],
  };
}
