// Installs the definition of WorkerPool on an API server, as a cluster administrator would.
import { buildCustomResourceDefinition } from '../../../operator/api/v1alpha1/crd.ts';
import { workerPoolResource } from '../../../operator/api/v1alpha1/workerpool.ts';
import { resources, type RawCustomResourceDefinition } from '../../../operator/kube/types.ts';
import type { TestApiServer } from '../../support/apiServer.ts';
import { eventually } from '../../support/eventually.ts';

/** Applies the definition and waits until pools can be listed. */
export async function installDefinition({ client }: TestApiServer): Promise<void> {
  const definition = buildCustomResourceDefinition();
  await client.apply(resources.customResourceDefinitions, definition, { fieldManager: 'test' });
  await eventually(async () => {
    const found = await client.get<RawCustomResourceDefinition>(
      resources.customResourceDefinitions,
      undefined,
      definition.metadata.name,
    );
    const isEstablished = found.status?.conditions?.some(
      ({ type, status }) => type === 'Established' && status === 'True',
    );
    if (isEstablished !== true) return false;
    await client.list(workerPoolResource);
    return true;
  });
}
