/**
 * `spec.template`: the pod template, of which only what Muster itself reads or writes is described. The API server
 * keeps everything else as it is and checks it when the Deployment is applied.
 */
import { z } from 'zod';
import { integer, open, withRules } from './schema.ts';

/** The name of the container that runs the tasks. */
export const workerContainer = 'worker';

/** A list of CEL. */
const celList = (names: readonly string[]): string => `[${names.map((name) => `'${name}'`).join(', ')}]`;

/** Variables of the Node worker of which the pool says nothing, so that the user may set them. */
export const nodeWorkerSettings = [
  'MUSTER_BACKEND',
  'MUSTER_RESULT_KEY_PREFIX',
  'MUSTER_RESULT_EXPIRES_SECONDS',
  'MUSTER_DEFAULT_QUEUE',
  'MUSTER_EVENTS',
  'MUSTER_LOG_LEVEL',
  'MUSTER_LOG_ARGS',
] as const;

/** The same as a list of CEL. */
export const nodeWorkerSettingsList = celList(nodeWorkerSettings);

const envSchema = withRules(open(z.looseObject({ name: z.string().max(253).describe('Name of the variable.') })), {
  rule: `self.name != 'CELERY_BROKER_URL' && (!self.name.startsWith('MUSTER_') || self.name in ${nodeWorkerSettingsList})`,
  message:
    'CELERY_BROKER_URL and names that begin with MUSTER_ are set by Muster; remove the variable from env and write the broker into spec.broker',
});

const containerSchema = open(
  z.looseObject({
    name: z.string().max(63).describe('Name of the container; the one that runs the tasks is called worker.'),
    image: z.string().max(1024).describe('The image of the container.').exactOptional(),
    command: z
      .array(z.string().max(65_536))
      .max(64)
      .describe('The entry point. Not for the container worker with runtime.celery or runtime.node: Muster writes it.')
      .exactOptional(),
    args: z
      .array(z.string().max(65_536))
      .max(256)
      .describe(
        'Arguments of the entry point. Not for the container worker with runtime.celery or runtime.node: Muster writes them.',
      )
      .exactOptional(),
    env: z
      .array(envSchema)
      .max(256)
      .describe('Environment variables. Muster adds its own (MUSTER_*, CELERY_BROKER_URL, POD_NAME, POD_NAMESPACE).')
      .exactOptional(),
  }),
);

/** Of the worker only: a sidecar may say for itself which pod it is in. */
const podVariablesRule = {
  rule: `self.name != '${workerContainer}' || !has(self.env) || self.env.all(each, !(each.name in ['POD_NAME', 'POD_NAMESPACE']))`,
  message:
    'POD_NAME and POD_NAMESPACE are set by Muster in the container worker; remove them from its env, and read there the name and the namespace of the pod',
};

/** A volume under one of these names would be left out, because the Deployment has Muster's. */
const volumeSchema = withRules(open(z.looseObject({ name: z.string().max(63).describe('Name of the volume.') })), {
  rule: `!(self.name in ${celList(['muster-worker', 'muster-routes', 'muster-tls'])})`,
  message:
    "muster-worker, muster-routes and muster-tls are the names of Muster's own volumes; give the volume another name",
});

const podSpecSchema = open(
  z.looseObject({
    containers: z
      .array(withRules(containerSchema, podVariablesRule))
      .max(16)
      .default([])
      .describe('Required. The containers; one is called worker.'),
    volumes: z
      .array(volumeSchema)
      .max(256)
      .describe('Volumes of the pods. Muster adds its own (muster-worker, muster-routes, muster-tls).')
      .exactOptional(),
    restartPolicy: withRules(z.string().max(16), {
      rule: "self == 'Always'",
      message: 'restartPolicy must be Always, because a worker that ends is started again; remove it or write Always',
    })
      .describe('Always, or left out: a worker that ends is started again.')
      .exactOptional(),
    terminationGracePeriodSeconds: integer(0, 2_592_000)
      .describe('How long a pod may take to end. Muster sets longestTaskSeconds + 30; a larger value is kept.')
      .exactOptional(),
  }),
);

/** The schema of `spec.template`. */
export const templateSchema = z.object({
  metadata: z
    .object({
      labels: z
        .record(z.string(), z.string())
        .describe(
          'Labels of the pods. Muster adds muster.dev/pool, and app.kubernetes.io/name, instance and managed-by where they are not set.',
        )
        .exactOptional(),
      annotations: z.record(z.string(), z.string()).describe('Annotations of the pods.').exactOptional(),
    })
    .describe('Labels and annotations of the pods.')
    .exactOptional(),
  spec: podSpecSchema
    .prefault({})
    .describe('The pod spec. Every field of a Kubernetes pod is allowed; described here is what Muster reads.'),
});
