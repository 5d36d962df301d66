// The producer's pod: an ordinary Celery client. In the routed set-up it mounts the ConfigMap that Muster keeps, which is
// all that a producer has to do.
import { inNamespace } from './install.ts';
import { podsOf, type Load, type SetUp } from './setUps.ts';
import type { Target } from './target.ts';
import { ToolError } from './tools.ts';

const ROUTES_FOLDER = '/muster/routes';

/** Starts the producer. It waits by itself until all workers answer. */
export async function startProducer(target: Target, setUp: SetUp, load: Load): Promise<void> {
  const routes = setUp.isRouted ? await findRoutes(target) : undefined;
  const { id } = setUp;
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: producerName(setUp) },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'producer',
          image: target.images.app,
          imagePullPolicy: 'IfNotPresent',
          command: ['python3', 'produce.py', id, String(load.tasks), String(load.seconds), String(podsOf(setUp))],
          env: [
            { name: 'CELERY_BROKER_URL', valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } } },
            ...(routes === undefined ? [] : [{ name: 'ROUTES_FILE', value: `${ROUTES_FOLDER}/routes.json` }]),
          ],
          ...(routes === undefined ? {} : { volumeMounts: [{ name: 'routes', mountPath: ROUTES_FOLDER }] }),
          resources: { requests: { cpu: '50m', memory: '64Mi' } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
      ...(routes === undefined ? {} : { volumes: [{ name: 'routes', configMap: { name: routes } }] }),
    },
  };
  await target.tools.kubectl(inNamespace(target.namespace, 'apply', '--filename', '-'), JSON.stringify(pod));
}

/** Why the producer will send nothing more, or undefined while nothing is wrong with it. */
export async function producerFailure({ tools, namespace }: Target, setUp: SetUp): Promise<string | undefined> {
  const name = producerName(setUp);
  const phase = await tools.kubectl(inNamespace(namespace, 'get', 'pod', name, '--output', 'jsonpath={.status.phase}'));
  if (phase !== 'Failed') return undefined;
  const log = await tools.kubectl(inNamespace(namespace, 'logs', name, '--tail=1'));
  return `the producer ended: ${log.trim()}`;
}

/** Removes the producer's pod. */
export async function deleteProducer({ tools, namespace }: Target, setUp: SetUp): Promise<void> {
  await tools.kubectl(inNamespace(namespace, 'delete', 'pod', producerName(setUp), '--ignore-not-found'));
}

function producerName({ id }: SetUp): string {
  return `producer-${id}`;
}

/** The name of the ConfigMap with the routing table. Its end is a hash of the broker, so it is found by its label. */
async function findRoutes({ tools, namespace }: Target): Promise<string> {
  const selector = 'app.kubernetes.io/managed-by=muster';
  const list = await tools.kubectl(
    inNamespace(namespace, 'get', 'configmap', '--selector', selector, '--output', 'name'),
  );
  const name = list.split('\n').find((each) => each.startsWith('configmap/muster-routes-'));
  if (name === undefined) throw new ToolError(`Muster has made no routing table in namespace ${namespace}`);
  return name.slice('configmap/'.length);
}
