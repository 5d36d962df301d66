/**
 * The shapes of Kubernetes objects as they are on the wire. Everything in Muster is raw JSON: client-node's generated
 * models turn dates into `Date` and drop fields that they do not know, so an object that was listed would differ from
 * the same object watched, and writing it back would lose what a newer API server had put there. Only the types are
 * taken from client-node, made true for JSON by `Raw`.
 */
import type {
  EventsV1Event,
  V1ConfigMap,
  V1Container,
  V1CustomResourceDefinition,
  V1Deployment,
  V1Lease,
  V1Namespace,
  V1ObjectMeta,
  V1OwnerReference,
  V1Pod,
  V1PodSpec,
  V1PodTemplateSpec,
  V1ReplicaSet,
  V1Secret,
  V1Status,
} from '@kubernetes/client-node';

/** A client-node type as JSON has it: every `Date` (and micro time) is an RFC 3339 string. */
export type Raw<T> = T extends Date
  ? string
  : T extends (infer Item)[]
    ? Raw<Item>[]
    : T extends object
      ? { [Key in keyof T]: Raw<T[Key]> }
      : T;

export type ObjectMeta = Raw<V1ObjectMeta>;
export type OwnerReference = Raw<V1OwnerReference>;

/** The least that every object has. List items carry neither `apiVersion` nor `kind`. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** What a cache needs of a record: its name. Records keep only what Muster reads, so they are no whole objects. */
export interface Named {
  readonly metadata: { readonly name?: string | undefined; readonly namespace?: string | undefined };
}

/** A client-node top-level type as JSON, with metadata that is always there. */
export type RawObject<T> = Omit<Raw<T>, keyof KubeObject> & KubeObject;

export type RawPod = RawObject<V1Pod>;
export type RawPodSpec = Raw<V1PodSpec>;
export type RawPodTemplateSpec = Raw<V1PodTemplateSpec>;
export type RawContainer = Raw<V1Container>;
export type RawDeployment = RawObject<V1Deployment>;
export type RawReplicaSet = RawObject<V1ReplicaSet>;
export type RawConfigMap = RawObject<V1ConfigMap>;
export type RawSecret = RawObject<V1Secret>;
export type RawNamespace = RawObject<V1Namespace>;
export type RawLease = RawObject<V1Lease>;
export type RawEvent = RawObject<EventsV1Event>;
export type RawCustomResourceDefinition = RawObject<V1CustomResourceDefinition>;
/** What the API server answers instead of an object: an error, or the result of a delete. */
export type RawStatus = Raw<V1Status>;

/** One page of a list. */
export interface KubeList<T> {
  metadata: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
  items: T[];
}

/** Where a kind lives in the API. `group` is empty for the core group. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** The built-in kinds that Muster reads or writes. */
export const resources = {
  pods: { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true },
  configMaps: { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap', namespaced: true },
  secrets: { group: '', version: 'v1', plural: 'secrets', kind: 'Secret', namespaced: true },
  namespaces: { group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace', namespaced: false },
  deployments: { group: 'apps', version: 'v1', plural: 'deployments', kind: 'Deployment', namespaced: true },
  replicaSets: { group: 'apps', version: 'v1', plural: 'replicasets', kind: 'ReplicaSet', namespaced: true },
  leases: { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', kind: 'Lease', namespaced: true },
  events: { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true },
  customResourceDefinitions: {
    group: 'apiextensions.k8s.io',
    version: 'v1',
    plural: 'customresourcedefinitions',
    kind: 'CustomResourceDefinition',
    namespaced: false,
  },
} as const satisfies Record<string, Resource>;

/** `apiVersion` of a resource: `apps/v1`, or `v1` in the core group. */
export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** The name under which caches, queues and logs know an object: `namespace/name`, or `name` where there is no namespace. */
export function keyOf(metadata: { namespace?: string | undefined; name?: string | undefined }): string {
  const name = metadata.name ?? '';
  return metadata.namespace === undefined || metadata.namespace === '' ? name : `${metadata.namespace}/${name}`;
}

/** The parts of a key. The namespace of a cluster-scoped object is empty. */
export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { namespace: '', name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The path of a collection, an object or a subresource. Every part is escaped: a name must never become a path. */
export function pathOf(resource: Resource, namespace?: string, name?: string, subresource?: string): string {
  const parts = resource.group === '' ? ['api', resource.version] : ['apis', resource.group, resource.version];
  if (resource.namespaced && namespace !== undefined && namespace !== '') parts.push('namespaces', namespace);
  parts.push(resource.plural);
  if (name !== undefined) parts.push(name);
  if (subresource !== undefined) parts.push(subresource);
  return `/${parts.map(encodeURIComponent).join('/')}`;
}
