// A cluster that the user has, named by a context of their kubeconfig. Everything is made in one namespace of the demo's
// own, and an operator that serves the cluster already is used and left as it is.
import { ensureBinary } from '../cluster/binaries.ts';
import { commandPath } from '../install/commandPath.ts';
import { MissingError } from '../install/progress.ts';
import type { DemoOptions } from './options.ts';
import type { Target, TargetDeps } from './target.ts';
import { createTools, type Tools } from './tools.ts';

const NAMESPACE = 'muster-demo';

/** Images in a registry that the cluster pulls from, or loaded into it. */
interface UsersImages {
  readonly app: string;
  readonly redis: string;
}

/** Checks that the cluster can be used and makes the namespace. Throws MissingError with what is to be done. */
export async function prepareUsersCluster(
  { steps, signal, atEnd }: TargetDeps,
  options: DemoOptions & { readonly context: string },
): Promise<Target> {
  const { context } = options;
  const images = requireImages(options);
  const [kubectl, helm] = await steps.run('kubectl and helm', undefined, async () => [
    (await commandPath('kubectl')) ?? (await ensureBinary('kubectl', steps.say)),
    (await commandPath('helm')) ?? (await ensureBinary('helm', steps.say)),
  ]);
  const lastTools = createTools({ kubectl, helm, context });
  const tools = createTools({ kubectl, helm, context, signal });
  const found = await steps.run(`cluster of context ${context}`, 2, async () => {
    await requireContext(tools, context);
    await requireNoNamespace(tools);
    return findMuster(tools);
  });
  const { operator } = found;
  if (operator === undefined) requireOperatorImage(options);
  else steps.say(`operator ${operator.namespace}/${operator.name} serves this cluster already: it is used as it is`);

  const deleteNamespace = `kubectl delete namespace ${NAMESPACE} --context ${context}`;
  const uninstall = `helm uninstall muster --namespace ${NAMESPACE} --kube-context ${context}`;
  const removal = async () => {
    await lastTools.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=120s']);
  };
  atEnd(`namespace ${NAMESPACE} deleted`, removal, deleteNamespace);
  await tools.kubectl(['create', 'namespace', NAMESPACE]);
  if (operator === undefined) {
    const uninstalled = async () => {
      await lastTools.helm(['uninstall', 'muster', '--namespace', NAMESPACE, '--ignore-not-found', '--wait']);
    };
    atEnd('operator uninstalled', uninstalled, `${uninstall} && ${deleteNamespace}`);
  }
  return {
    tools,
    lastTools,
    namespace: NAMESPACE,
    operator: {
      ...(operator ?? { name: 'muster', namespace: NAMESPACE }),
      values: operator === undefined ? operatorValues(requireOperatorImage(options), found.definition) : undefined,
    },
    images,
    look: {
      before: [`kubectl config use-context ${context}`],
      takeDown: [...(operator === undefined ? [uninstall] : []), deleteNamespace],
    },
  };
}

function operatorValues(image: string, hasDefinition: boolean): string[] {
  const colon = image.lastIndexOf(':');
  return [
    ...['--set', `image.repository=${image.slice(0, colon)}`, '--set-string', `image.tag=${image.slice(colon + 1)}`],
    // Nothing of the demo acts outside its namespace, and nothing of it stays.
    ...['--set', `watchNamespace=${NAMESPACE}`, '--set', 'muster-crds.keep=false'],
    // A definition that is there belongs to somebody else.
    ...(hasDefinition ? ['--set', 'crds.enabled=false'] : []),
  ];
}

/** The images that were named. Throws MissingError, with what must be done, when that of the application is missing. */
export function requireImages({ operatorImage, appImage, redisImage }: DemoOptions): UsersImages {
  if (appImage === undefined) throw missingImages(operatorImage === undefined ? 'both' : '--app-image');
  for (const [flag, image] of Object.entries({ '--operator-image': operatorImage, '--app-image': appImage })) {
    if (image !== undefined && !/^[\w./:-]+:[\w.-]+$/.test(image)) {
      throw new MissingError(`${flag} is an image with its tag, as in shop/app:1; not "${image}".`);
    }
  }
  return { app: appImage, redis: redisImage };
}

function requireOperatorImage({ operatorImage }: DemoOptions): string {
  if (operatorImage === undefined) throw missingImages('--operator-image');
  return operatorImage;
}

function missingImages(flag: 'both' | '--operator-image' | '--app-image'): MissingError {
  const flags = flag === 'both' ? '--operator-image and --app-image' : flag;
  return new MissingError(
    `with --context the images come from where that cluster pulls: give ${flags} too. Build them with ` +
      '`npm run build && docker build -t NAME:TAG .` and `docker build -t NAME:TAG dev/demo/app`, then ' +
      '`docker push` them (or `kind load docker-image`, `minikube image load`).',
  );
}

async function requireContext(tools: Tools, context: string): Promise<void> {
  const known = (await tools.kubectl(['config', 'get-contexts', '--output', 'name'])).split('\n');
  if (!known.includes(context)) {
    throw new MissingError(`the kubeconfig has no context "${context}"; it has: ${known.join(', ') || 'none'}.`);
  }
}

async function requireNoNamespace(tools: Tools): Promise<void> {
  const found = await tools.kubectl(['get', 'namespace', NAMESPACE, '--ignore-not-found', '--output', 'name']);
  if (found !== '') {
    throw new MissingError(
      `namespace ${NAMESPACE} is there already: another demo runs in this cluster, or one was kept; ` +
        `\`kubectl delete namespace ${NAMESPACE}\` removes it.`,
    );
  }
}

/** What of Muster is in the cluster already. */
interface Found {
  /** Whether the API server knows WorkerPools. */
  readonly definition: boolean;
  /** The Deployment of an operator that serves every namespace. */
  readonly operator: { readonly name: string; readonly namespace: string } | undefined;
}

interface DeploymentList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly namespace: string };
    readonly spec: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } };
  }[];
}

interface Container {
  readonly env?: readonly { readonly name: string }[];
}

async function findMuster(tools: Tools): Promise<Found> {
  const definition = 'customresourcedefinition/workerpools.muster.dev';
  const label = 'app.kubernetes.io/name=muster-operator';
  const [definitions, deployments] = await Promise.all([
    tools.kubectl(['get', definition, '--ignore-not-found', '--output', 'name']),
    tools.kubectl(['get', 'deployments', '--all-namespaces', '--selector', label, '--output', 'json']),
  ]);
  const { items } = JSON.parse(deployments) as DeploymentList;
  // The chart sets this variable on an operator that serves one namespace only, which is not ours.
  const isNarrow = ({ env = [] }: Container) => env.some(({ name }) => name === 'MUSTER_NAMESPACE');
  const operator = items.find(({ spec }) => !spec.template.spec.containers.some(isNarrow));
  return { definition: definitions !== '', operator: operator?.metadata };
}
