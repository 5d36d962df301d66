// A cluster of the demo's own on this machine: Kubernetes with a node, and images built here and loaded into it.
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { ensureBinaries } from '../cluster/binaries.ts';
import { BINARIES, type BinaryName } from '../cluster/binaryTable.ts';
import { downCluster, readCluster, upCluster, type RunningCluster } from '../cluster/cluster.ts';
import { ensureBaseImage } from '../images/baseImages.ts';
import { baseImageArchive, buildImage, importImage, type BuiltImage } from '../images/images.ts';
import { commandPath } from '../install/commandPath.ts';
import { MissingError } from '../install/progress.ts';
import type { Target, TargetDeps } from './target.ts';
import { createTools } from './tools.ts';

const CLUSTER = 'demo';
const NAMESPACE = 'demo';
const OPERATOR_IMAGE = 'muster/operator';
const APP_IMAGE = 'muster/demo-app:demo';
const TAKE_DOWN = `npm run cluster -- down --name ${CLUSTER}`;
const ROOT = join(import.meta.dirname, '../..');

/** Throws MissingError, with the way out, where a node cannot run. */
export function requireNodeMachine(): void {
  if (process.platform === 'linux' && process.getuid?.() === 0) return;
  throw new MissingError(
    'running pods on this machine needs root on Linux: use `sudo npm run demo`, or name a cluster of yours with ' +
      '`npm run demo -- --context NAME`.',
  );
}

/** Brings the cluster up, or takes the one that an earlier run kept, and gives it the images of this checkout. */
export async function prepareOwnCluster({ steps, signal, atEnd }: TargetDeps): Promise<Target> {
  requireNodeMachine();
  const programs = Object.keys(BINARIES) as BinaryName[];
  const { kubectl, helm } = await steps.run('programs of Kubernetes, and helm', undefined, () =>
    ensureBinaries(programs, steps.say),
  );
  const wasUp = (await readCluster(CLUSTER)) !== undefined;
  // Registered before anything is started: a start that was interrupted half way is cleared up too.
  if (!wasUp) atEnd('Kubernetes taken down', () => downCluster(CLUSTER, () => undefined), TAKE_DOWN);
  const cluster = await steps.run('Kubernetes on this machine, with a node', 15, () =>
    upCluster({ name: CLUSTER, node: true, say: quietUnlessSlow(steps.say) }),
  );
  if (wasUp) steps.say('it was up already: it stays up at the end');

  const operatorId = await prepareImages({ steps, signal, atEnd }, cluster);
  const options = { kubectl, helm, kubeconfig: cluster.kubeconfigPath };
  const lastTools = createTools(options);
  if (wasUp) await removeEarlierRun(steps, lastTools);
  await lastTools.kubectl(['create', 'namespace', NAMESPACE]);
  return {
    tools: createTools({ ...options, signal }),
    lastTools,
    namespace: NAMESPACE,
    operator: {
      name: 'muster',
      namespace: 'muster-system',
      values: [
        ...['--set', `image.repository=${OPERATOR_IMAGE}`, '--set', 'image.tag=demo'],
        // The tag is the same for every build; this starts new pods when a kept cluster gets a new one.
        ...['--set-string', `podAnnotations.image=${operatorId}`],
      ],
    },
    images: { app: APP_IMAGE, redis: 'muster.local/redis:dev' },
    look: {
      before: [
        `export KUBECONFIG=${cluster.kubeconfigPath}`,
        ...((await commandPath('kubectl')) === undefined ? [`export PATH=${dirname(kubectl)}:"$PATH"`] : []),
      ],
      takeDown: [TAKE_DOWN],
    },
  };
}

/** Builds and loads the three images; returns an id of the operator's. */
async function prepareImages({ steps, signal }: TargetDeps, cluster: RunningCluster): Promise<string> {
  await steps.run('base images: Debian with Node, Python and Redis', undefined, async () => {
    for (const name of ['base-node', 'base-python', 'redis'] as const) {
      signal.throwIfAborted();
      await ensureBaseImage(name, steps.say);
    }
  });
  const operator = await steps.run('image of the operator: npm run build, Dockerfile', 8, async () => {
    await execa('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdin: 'ignore', cancelSignal: signal });
    const base = await ensureBaseImage('base-node', steps.say);
    return build('Dockerfile', '.', `${OPERATOR_IMAGE}:demo`, base);
  });
  const app = await steps.run('image of the Celery application', 10, async () =>
    build('dev/demo/app/Dockerfile', 'dev/demo/app', APP_IMAGE, await ensureBaseImage('base-python', steps.say)),
  );
  await steps.run('images loaded into the node', 16, async () => {
    for (const image of [operator, app, await baseImageArchive('redis', steps.say)]) {
      signal.throwIfAborted();
      await importImage(cluster, image, steps.say);
    }
  });
  return operator.archivePath.replace(/^.*-|\.tar$/g, '');
}

function build(dockerfile: string, context: string, tag: string, base: string): Promise<BuiltImage> {
  return buildImage({
    dockerfile: join(ROOT, dockerfile),
    context: join(ROOT, context),
    buildArgs: { BASE: base },
    tag,
  });
}

async function removeEarlierRun(steps: TargetDeps['steps'], tools: Target['tools']): Promise<void> {
  const found = await tools.kubectl(['get', 'namespace', NAMESPACE, '--ignore-not-found', '--output', 'name']);
  if (found === '') return;
  await steps.run('what an earlier run left removed', 10, () =>
    tools.kubectl(['delete', 'namespace', NAMESPACE, '--wait', '--timeout=120s']),
  );
}

/** The time that a cluster took is shown by the step itself; only lines about something built or fetched are news. */
function quietUnlessSlow(say: (line: string) => void): (line: string) => void {
  return (line) => {
    if (!/ is up after /.test(line)) say(line);
  };
}
