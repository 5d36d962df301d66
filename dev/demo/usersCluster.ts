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
  readonly operator: string;
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
  const [kubectl, helm] = await steps.run('kubectl and helm', 165, async () => [
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
  const isServed = found.operator;
  if (isServed) steps.say('an operator serves this cluster already: it is used as it is');

  const deleteNamespace = `kubectl delete namespace ${NAMESPACE} --context ${context}`;
  const uninstall = `helm uninstall muster --namespace ${NAMESPACE} --kube-context ${context}`;
  const removal = async () => {
    await lastTools.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=120s']);
  };
  atEnd(`namespace ${NAMESPACE} deleted`, removal, deleteNamespace);
  await tools.kubectl(['create', 'namespace', NAMESPACE]);
  if (!isServed) {
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
      namespace: NAMESPACE,
      values: isServed ? undefined : operatorValues(images.operator, found.definition),
    },
    images,
    look: {
      before: [`kubectl config use-context ${context}`],
      takeDown: [...(isServed ? [] : [uninstall]), deleteNamespace],
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

/** The images that were named. Throws MissingError, with what must be done, when one is missing. */
export function requireImages({ operatorImage, appImage, redisImage }: DemoOptions): UsersImages {
  const missing = [
    ...(operatorImage === undefined ? ['--operator-image'] : []),
    ...(appImage === undefined ? ['--app-image'] : []),
  ];
  if (operatorImage === undefined || appImage === undefined) {
    throw new MissingError(
      `with --context the images come from where that cluster pulls: give ${missing.join(' and ')} too. Build them with ` +
        '`npm run build && docker build -t NAME:TAG .` and `docker build -t NAME:TAG dev/demo/app`, then ' +
        '`docker push` them (or `kind load docker-image`, `minikube image load`).',
    );
  }
  for (const [flag, image] of Object.entries({ '--operator-image': operatorImage, '--app-image': appImage })) {
    if (!/^[\w./:-]+:[\w.-]+$/.test(image))
      throw new MissingError(`${flag} is an image with its tag, as in shop/app:1; not "${image}".`);
  }
  return { operator: operatorImage, app: appImage, redis: redisImage };
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

/** What of Muster is in the cluster: the definition of WorkerPools, and an operator. */
async function findMuster(tools: Tools): Promise<{ definition: boolean; operator: boolean }> {
  const definition = 'customresourcedefinition/workerpools.muster.dev';
  const label = 'app.kubernetes.io/name=muster-operator';
  const [definitions, operators] = await Promise.all([
    tools.kubectl(['get', definition, '--ignore-not-found', '--output', 'name']),
    tools.kubectl(['get', 'deployments', '--all-namespaces', '--selector', label, '--output', 'name']),
  ]);
  return { definition: definitions !== '', operator: definitions !== '' && operators !== '' };
}
