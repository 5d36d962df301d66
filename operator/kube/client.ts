/**
 * Reads and writes of objects, raw JSON in and out. Writers apply or patch and never replace: a replace built from an
 * object that an older client read would delete what a newer API server put there.
 */
import { apiVersionOf, pathOf, type KubeList, type KubeObject, type Resource } from './types.ts';
import type { Transport } from './transport.ts';

/** Options that every call has. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for one try; the transport's own when absent. */
  readonly timeoutMs?: number;
}

/** Which part of a collection to list. */
export interface ListOptions extends CallOptions {
  /** All namespaces when absent. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Items in one answer; the rest is had with `continue`. */
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  /** `'0'`: whatever the server has cached; absent: the newest. */
  readonly resourceVersion?: string | undefined;
}

/** Who writes: the name under which managedFields and the audit log keep the change. */
export interface WriteOptions extends CallOptions {
  readonly fieldManager: string;
  readonly dryRun?: boolean;
}

/** A server-side apply. */
export interface ApplyOptions extends WriteOptions {
  readonly subresource?: 'status';
  /** Take over fields that others own; true when absent, as a controller should. */
  readonly force?: boolean;
}

/** A merge patch. */
export interface PatchOptions extends WriteOptions {
  readonly subresource?: 'status' | 'scale';
}

/** A delete. */
export interface DeleteOptions extends CallOptions {
  /** Only if it is still this object. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly gracePeriodSeconds?: number;
}

/** Objects of one API server. Every method rejects with KubeError. */
export interface KubeClient {
  /** The connection below, for watches and for paths that are not objects. */
  readonly transport: Transport;
  get<T>(resource: Resource, namespace: string | undefined, name: string, options?: CallOptions): Promise<T>;
  /** One page; `metadata.continue` is set when there are more. */
  list<T>(resource: Resource, options?: ListOptions): Promise<KubeList<T>>;
  /** Not sent again once the server may have seen it. */
  create<T>(
    resource: Resource,
    namespace: string | undefined,
    body: object,
    options?: CallOptions & { readonly fieldManager?: string; readonly dryRun?: boolean },
  ): Promise<T>;
  /** Resolves when the delete is accepted; `notFound` is an error. */
  delete(resource: Resource, namespace: string | undefined, name: string, options?: DeleteOptions): Promise<void>;
  /** Server-side apply; `apiVersion` and `kind` are filled in from the resource. */
  apply<T>(resource: Resource, body: KubeObject, options: ApplyOptions): Promise<T>;
  /** JSON merge patch (RFC 7386): null deletes a field. */
  mergePatch<T>(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    body: object,
    options: PatchOptions,
  ): Promise<T>;
  /** Writes replicas through `/scale`; resolves to what the server then holds. */
  scale(
    resource: Resource,
    namespace: string,
    name: string,
    replicas: number,
    options: WriteOptions,
  ): Promise<{ replicas: number; resourceVersion: string }>;
}

interface ScaleObject {
  metadata: { resourceVersion: string };
  spec?: { replicas?: number };
}

/** Builds the client on a transport. */
export function createKubeClient(transport: Transport): KubeClient {
  const mergePatch: KubeClient['mergePatch'] = (resource, namespace, name, body, options) =>
    transport.json({
      method: 'PATCH',
      path: pathOf(resource, namespace, name, options.subresource),
      query: { fieldManager: options.fieldManager, dryRun: options.dryRun === true ? 'All' : undefined },
      contentType: 'application/merge-patch+json',
      body,
      ...callOf(options),
    });

  return {
    transport,
    mergePatch,
    get: (resource, namespace, name, options = {}) =>
      transport.json({ method: 'GET', path: pathOf(resource, namespace, name), ...callOf(options) }),
    list: (resource, options = {}) =>
      transport.json({
        method: 'GET',
        path: pathOf(resource, options.namespace),
        query: {
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
          limit: options.limit,
          continue: options.continue,
          resourceVersion: options.resourceVersion,
        },
        ...callOf(options),
      }),
    create: (resource, namespace, body, options = {}) =>
      transport.json({
        method: 'POST',
        path: pathOf(resource, namespace),
        query: { fieldManager: options.fieldManager, dryRun: options.dryRun === true ? 'All' : undefined },
        body: { apiVersion: apiVersionOf(resource), kind: resource.kind, ...body },
        ...callOf(options),
      }),
    delete: async (resource, namespace, name, options = {}) => {
      const { uid, resourceVersion, propagationPolicy, gracePeriodSeconds } = options;
      const preconditions = uid === undefined && resourceVersion === undefined ? undefined : { uid, resourceVersion };
      await transport.text({
        method: 'DELETE',
        path: pathOf(resource, namespace, name),
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions, propagationPolicy, gracePeriodSeconds },
        ...callOf(options),
      });
    },
    apply: (resource, body, options) =>
      transport.json({
        method: 'PATCH',
        path: pathOf(resource, body.metadata.namespace, body.metadata.name, options.subresource),
        query: {
          fieldManager: options.fieldManager,
          force: options.force ?? true,
          dryRun: options.dryRun === true ? 'All' : undefined,
        },
        contentType: 'application/apply-patch+yaml', // JSON is YAML.
        body: { ...body, apiVersion: apiVersionOf(resource), kind: resource.kind },
        ...callOf(options),
      }),
    scale: async (resource, namespace, name, replicas, options) => {
      // Applied, not patched: on a Deployment that was born by an apply, Kubernetes 1.34 keeps no record of a merge patch
      // of its scale, and the writer of the replicas would be nobody.
      const scaled = await transport.json<ScaleObject>({
        method: 'PATCH',
        path: pathOf(resource, namespace, name, 'scale'),
        query: { fieldManager: options.fieldManager, force: true, dryRun: options.dryRun === true ? 'All' : undefined },
        contentType: 'application/apply-patch+yaml',
        body: { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name, namespace }, spec: { replicas } },
        ...callOf(options),
      });
      // Zero replicas are left out of a Scale by some servers.
      return { replicas: scaled.spec?.replicas ?? 0, resourceVersion: scaled.metadata.resourceVersion };
    },
  };
}

function callOf(options: CallOptions): CallOptions {
  return {
    signal: options.signal,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  };
}
