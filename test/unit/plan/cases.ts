// The pools whose rendered Deployments are kept as golden files; the contract suite asks a real API server about them.
import type { WorkerPool } from '../../../operator/api/v1alpha1/workerpool.ts';
import type { DeploymentContext } from '../../../operator/plan/deployment.ts';
import { makePool } from '../../support/builders.ts';

/** A pool and what its Deployment is made from beside it. */
export interface DeploymentCase {
  readonly pool: WorkerPool;
  readonly context: DeploymentContext;
}

const context: DeploymentContext = { routesConfigMap: 'muster-routes-0123abcd', paused: false };
const secret = (key: string) => ({ secretKeyRef: { name: 'redis', key } });

/** By name of the golden file. */
export const deploymentCases: Readonly<Record<string, DeploymentCase>> = {
  'deployment-smallest': { pool: makePool('short').obj(), context },
  'deployment-newborn': { pool: makePool('short').obj(), context: { ...context, paused: true } },
  'deployment-everything': {
    pool: makePool('reports-long')
      .broker({
        urlFrom: secret('url'),
        tls: { caFrom: secret('ca') },
        visibilityTimeoutSeconds: 43_200,
        keyPrefix: 'shop:',
        prioritySteps: [0, 5],
      })
      .queue('reports', 'reports.*')
      .queue('exports')
      .app('shop.celery:app', 'threads')
      .concurrency(4)
      .prefetch('Multiplier', 2)
      .ack('Late')
      .longest(7200)
      .template({
        metadata: {
          labels: { team: 'reports', 'muster.dev/pool': 'another' },
          annotations: { 'prometheus.io/scrape': 'true' },
        },
        spec: {
          serviceAccountName: 'shop',
          nodeSelector: { disk: 'ssd' },
          terminationGracePeriodSeconds: 60,
          containers: [
            { name: 'proxy', image: 'proxy:2', command: ['proxy'] },
            {
              name: 'worker',
              image: 'shop:1.42',
              env: [
                { name: 'CELERY_WORKER_MAX_TASKS_PER_CHILD', value: '100' },
                { name: 'WHO', value: '$(POD_NAME)' },
              ],
              resources: { requests: { cpu: '1', memory: '512Mi' } },
              volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
            },
          ],
          volumes: [{ name: 'scratch', emptyDir: {} }],
        },
      })
      .obj(),
    context,
  },
  'deployment-node': {
    pool: makePool('images')
      .broker({ urlFrom: secret('url'), tls: { caFrom: secret('ca') }, keyPrefix: 'shop:', prioritySteps: [0, 5] })
      .queue('images', 'images.*')
      .node('./dist/tasks.js')
      .concurrency(8)
      .prefetch('Multiplier', 2)
      .ack('Late')
      .longest(600)
      .worker({ env: [{ name: 'MUSTER_EVENTS', value: 'true' }] })
      .obj(),
    context,
  },
  'deployment-custom': {
    pool: makePool('legacy')
      .custom()
      .prefetch('Unlimited')
      .worker({ command: ['./start.sh'], args: ['--queues', '$(MUSTER_QUEUES)'] })
      .obj(),
    context,
  },
};
