/**
 * The WorkerPool resource, `muster.dev/v1alpha1`. One schema is the source of the TypeScript types, the defaults, the
 * CustomResourceDefinition (crd.ts) and the reference page. `spec` and `status` stand in their own files.
 */
import { z } from 'zod';
import { specSchema } from './spec.ts';
import { statusSchema } from './status.ts';
import { withRules } from './schema.ts';

/** Where WorkerPools live in the API. */
export const workerPoolResource = {
  group: 'muster.dev',
  version: 'v1alpha1',
  plural: 'workerpools',
  kind: 'WorkerPool',
  namespaced: true,
} as const;

/** `apiVersion` of a WorkerPool. */
export const workerPoolApiVersion = 'muster.dev/v1alpha1';

/** The longest name of a pool: with what Kubernetes appends (17 characters) a pod's name still is a DNS label. */
export const maxNameLength = 46;

/** The parts of `metadata` that Muster reads. The API server fills them. */
const metadataSchema = z.object({
  name: z.string(),
  namespace: z.string(),
  uid: z.string(),
  generation: z.int(),
  resourceVersion: z.string(),
  creationTimestamp: z.string(),
  deletionTimestamp: z.string().exactOptional(),
  labels: z.record(z.string(), z.string()).exactOptional(),
  annotations: z.record(z.string(), z.string()).exactOptional(),
});

/** The schema of the whole resource. */
export const workerPoolSchema = withRules(
  z.object({
    apiVersion: z.literal(workerPoolApiVersion),
    kind: z.literal('WorkerPool'),
    metadata: metadataSchema,
    spec: specSchema.describe('What the pool should be.'),
    status: statusSchema.describe('What the pool is. Written by Muster.').exactOptional(),
  }),
  {
    fieldPath: '.metadata.name',
    rule: `size(self.metadata.name) <= ${maxNameLength}`,
    message: `the name of a WorkerPool has at most ${maxNameLength} characters, because the names of its pods are made from it; write a shorter one`,
  },
  {
    fieldPath: '.metadata.name',
    rule: "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    message:
      'the name of a WorkerPool has lower-case letters, digits and - only, because it becomes a label; write - in the place of dots',
  },
).describe(
  'A fleet of task-queue workers: which queues they consume, what they hold, when they acknowledge, how many there are.',
);

/** A pool as the API server returns it: complete, defaults filled in. */
export type WorkerPool = z.output<typeof workerPoolSchema>;
/** `spec`, complete. */
export type WorkerPoolSpec = z.output<typeof specSchema>;
/** `spec` as a user may write it: what has a default may be left out. */
export type WorkerPoolSpecInput = z.input<typeof specSchema>;
/** `status`. */
export type WorkerPoolStatus = z.output<typeof statusSchema>;
/** `status.conditions[]`. */
export type Condition = NonNullable<WorkerPoolStatus['conditions']>[number];
/** `status.queues[]`. */
export type QueueStatus = NonNullable<WorkerPoolStatus['queues']>[number];
/** `status.lastDecision`. */
export type LastDecision = NonNullable<WorkerPoolStatus['lastDecision']>;
/** `spec.broker`. */
export type BrokerSpec = WorkerPoolSpec['broker'];
