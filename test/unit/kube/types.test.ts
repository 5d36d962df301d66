import { expect } from 'chai';
import { buildOwnerReference, controllerOf, isOwnedBy, ownerKeys } from '../../../operator/kube/owner.ts';
import { keyOf, pathOf, resources, splitKey, type Resource } from '../../../operator/kube/types.ts';

const pool: Resource = {
  group: 'muster.dev',
  version: 'v1alpha1',
  plural: 'workerpools',
  kind: 'WorkerPool',
  namespaced: true,
};

describe('paths and keys', () => {
  const table: Record<string, { path: string; want: string }> = {
    'a collection of the core group': { path: pathOf(resources.pods, 'ns'), want: '/api/v1/namespaces/ns/pods' },
    'all namespaces': { path: pathOf(resources.deployments), want: '/apis/apps/v1/deployments' },
    'a subresource': {
      path: pathOf(pool, 'ns', 'a', 'status'),
      want: '/apis/muster.dev/v1alpha1/namespaces/ns/workerpools/a/status',
    },
    'a cluster-scoped object, whatever the namespace': {
      path: pathOf(resources.namespaces, 'ignored', 'a'),
      want: '/api/v1/namespaces/a',
    },
    'a name that tries to be a path': {
      path: pathOf(resources.pods, 'ns', '../../secrets/a?x=y'),
      want: '/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets%2Fa%3Fx%3Dy',
    },
  };
  for (const [name, tc] of Object.entries(table)) it(name, () => expect(tc.path).to.equal(tc.want));

  it('keys lead back to namespace and name', () => {
    expect(keyOf({ namespace: 'ns', name: 'a' })).to.equal('ns/a');
    expect(splitKey('ns/a')).to.deep.equal({ namespace: 'ns', name: 'a' });
    expect(splitKey(keyOf({ name: 'a' }))).to.deep.equal({ namespace: '', name: 'a' });
  });
});

describe('owner references', () => {
  const owner = { resource: pool, name: 'a', uid: 'u1' };

  it('has one owner that manages, and others that only share', () => {
    const metadata = {
      namespace: 'ns',
      ownerReferences: [
        buildOwnerReference({ ...owner, name: 'b', uid: 'u2' }, false),
        buildOwnerReference(owner, true),
      ],
    };
    expect(controllerOf(metadata)).to.include({ name: 'a', uid: 'u1', apiVersion: 'muster.dev/v1alpha1' });
    expect([isOwnedBy(metadata, 'u2'), isOwnedBy(metadata, 'u3')]).to.deep.equal([true, false]);
    expect(ownerKeys(metadata, pool)).to.deep.equal(['ns/b', 'ns/a']);
  });

  it('finds owners whatever their version, but not of another group or kind', () => {
    const reference = (apiVersion: string, kind: string) => ({ apiVersion, kind, name: 'a', uid: 'u' });
    const metadata = {
      namespace: 'ns',
      ownerReferences: [
        reference('muster.dev/v1', 'WorkerPool'),
        reference('other.dev/v1', 'WorkerPool'),
        reference('muster.dev/v1', 'Other'),
      ],
    };
    expect(ownerKeys(metadata, pool)).to.deep.equal(['ns/a']);
    expect(controllerOf({})).to.equal(undefined);
  });
});
