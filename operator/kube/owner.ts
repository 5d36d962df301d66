/**
 * Owner references: what makes the garbage collector delete what a pool made, and what tells which pool a Deployment
 * or Pod belongs to.
 */
import { apiVersionOf, type ObjectMeta, type OwnerReference, type Resource } from './types.ts';

/** An object that can own others: it exists, so it has a name and a uid. */
export interface Owner {
  readonly resource: Resource;
  readonly name: string;
  readonly uid: string;
}

/**
 * The reference to an owner.
 * @param owner must be in the same namespace as the owned object, else the garbage collector deletes the owned one
 * @param isController true for the one owner that manages the object; false where several share it
 */
export function buildOwnerReference(owner: Owner, isController: boolean): OwnerReference {
  return {
    apiVersion: apiVersionOf(owner.resource),
    kind: owner.resource.kind,
    name: owner.name,
    uid: owner.uid,
    ...(isController ? { controller: true, blockOwnerDeletion: true } : {}),
  };
}

/** The reference of the one owner that manages the object. */
export function controllerOf(metadata: Pick<ObjectMeta, 'ownerReferences'>): OwnerReference | undefined {
  return metadata.ownerReferences?.find((reference) => reference.controller === true);
}

/** Whether an object is owned by the one with this uid (names come back, uids do not). */
export function isOwnedBy(metadata: Pick<ObjectMeta, 'ownerReferences'>, uid: string): boolean {
  return metadata.ownerReferences?.some((reference) => reference.uid === uid) ?? false;
}

/** Keys of the owners of one kind, whatever their API version: what to reconcile when the object changes. */
export function ownerKeys(metadata: Pick<ObjectMeta, 'namespace' | 'ownerReferences'>, resource: Resource): string[] {
  return (metadata.ownerReferences ?? [])
    .filter((reference) => reference.kind === resource.kind && groupOf(reference.apiVersion) === resource.group)
    .map((reference) =>
      resource.namespaced && metadata.namespace !== undefined
        ? `${metadata.namespace}/${reference.name}`
        : reference.name,
    );
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}
