/** The CustomResourceDefinition of WorkerPool, made from its schema: columns, subresources, rules. */
import { toStructuralSchema, withDefaultsInWords, type StructuralSchema } from './structural.ts';
import { workerPoolResource, workerPoolSchema } from './workerpool.ts';

/** A column of `kubectl get wp`. Those with priority 1 are shown with `-o wide` only. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'integer' | 'string' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  readonly priority?: 1;
}

/** The columns, in their order. */
export const printerColumns: readonly PrinterColumn[] = [
  { name: 'Ready', type: 'integer', jsonPath: '.status.readyReplicas', description: 'Pods that are ready.' },
  { name: 'Desired', type: 'integer', jsonPath: '.status.desiredReplicas', description: 'Pods there should be.' },
  { name: 'Max', type: 'integer', jsonPath: '.spec.scaling.maxReplicas', description: 'The most pods.' },
  { name: 'Waiting', type: 'integer', jsonPath: '.status.tasks.waiting', description: 'Tasks in the queues.' },
  { name: 'Running', type: 'integer', jsonPath: '.status.tasks.running', description: 'Tasks being executed.' },
  {
    name: 'Held',
    type: 'integer',
    jsonPath: '.status.tasks.held',
    description: 'Tasks taken by a worker and not being executed.',
    priority: 1,
  },
  { name: 'Slots', type: 'integer', jsonPath: '.spec.concurrency', description: 'Task slots in one pod.', priority: 1 },
  { name: 'Prefetch', type: 'string', jsonPath: '.spec.prefetch.policy', description: 'Prefetch policy.', priority: 1 },
  {
    name: 'Ack',
    type: 'string',
    jsonPath: '.spec.ackMode',
    description: 'When a message is acknowledged.',
    priority: 1,
  },
  {
    name: 'Reason',
    type: 'string',
    jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
    description: 'The reason of the condition Ready.',
  },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'Age of the pool.' },
];

/** A CustomResourceDefinition with all that the generated client types leave out. */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: 'Namespaced';
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames: readonly string[];
      readonly categories: readonly string[];
    };
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly storage: boolean;
      readonly subresources: {
        readonly status: Record<string, never>;
        readonly scale: {
          readonly specReplicasPath: string;
          readonly statusReplicasPath: string;
          readonly labelSelectorPath: string;
        };
      };
      readonly additionalPrinterColumns: readonly PrinterColumn[];
      readonly schema: { readonly openAPIV3Schema: StructuralSchema };
    }[];
  };
}

/** Builds the CustomResourceDefinition. */
export function buildCustomResourceDefinition(): CustomResourceDefinition {
  const { group, version, plural, kind } = workerPoolResource;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: ['wp'],
        categories: ['muster'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: {
            status: {},
            scale: {
              specReplicasPath: '.spec.replicas',
              statusReplicasPath: '.status.replicas',
              labelSelectorPath: '.status.selector',
            },
          },
          additionalPrinterColumns: printerColumns,
          schema: { openAPIV3Schema: buildRootSchema() },
        },
      ],
    },
  };
}

/**
 * The schema of the resource. `apiVersion`, `kind` and `metadata` belong to the API server: a CRD may say of metadata
 * only how long a name may be, which it must, so that the rules on the name have a bounded cost.
 */
export function buildRootSchema(): StructuralSchema {
  const { spec, status } = workerPoolSchema.shape;
  const rules = workerPoolSchema.meta()?.['x-kubernetes-validations'] as StructuralSchema['x-kubernetes-validations'];
  return {
    description: workerPoolSchema.description ?? '',
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: 'muster.dev/v1alpha1' },
      kind: { type: 'string', description: 'WorkerPool' },
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: 253 } } },
      spec: withDefaultsInWords(toStructuralSchema(spec)),
      status: toStructuralSchema(status),
    },
    ...(rules === undefined ? {} : { 'x-kubernetes-validations': rules }),
  };
}
