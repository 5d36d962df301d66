/**
 * From a pool's `spec.broker` to a broker endpoint: reads the Secrets it names and parses the URL. What is wrong is a
 * sentence for the pool's status, never an exception, because the person who can mend it reads the status.
 */
import type { WorkerPool } from '../api/v1alpha1/workerpool.ts';
import { parseEndpoint, type BrokerEndpoint } from '../broker/endpoint.ts';
import type { BrokerProblemReason } from '../plan/facts.ts';
import type { SecretReader } from './secrets.ts';

/** The endpoint, or the reason why a pool has none. */
export type ResolvedEndpoint =
  | { readonly kind: 'ok'; readonly endpoint: BrokerEndpoint }
  | { readonly kind: 'problem'; readonly reason: BrokerProblemReason; readonly message: string };

/** Resolves the broker of a pool. Throws only when the API server could not be asked for a Secret. */
export async function resolveEndpoint(
  pool: WorkerPool,
  secrets: SecretReader,
  signal: AbortSignal,
): Promise<ResolvedEndpoint> {
  const { broker } = pool.spec;
  const url = await readUrl(pool, secrets, signal);
  if (url.kind === 'problem') return url;
  const ca = broker.tls?.caFrom?.secretKeyRef;
  const caPem = ca === undefined ? undefined : await secrets.read(pool.metadata.namespace, ca.name, ca.key, signal);
  if (caPem?.kind === 'missing')
    return { kind: 'problem', reason: caPem.reason, message: `broker.tls.caFrom: ${caPem.message}` };
  const parsed = parseEndpoint({
    url: url.value,
    ...(caPem === undefined ? {} : { caPem: caPem.value }),
    ...(broker.keyPrefix === undefined ? {} : { keyPrefix: broker.keyPrefix }),
    ...(broker.prioritySteps === undefined ? {} : { prioritySteps: broker.prioritySteps }),
  });
  if (parsed.kind === 'invalid') return { kind: 'problem', reason: 'InvalidURL', message: parsed.message };
  return parsed;
}

/** The names of the Secrets that a pool's broker refers to. */
export function secretNames(pool: WorkerPool): string[] {
  const { urlFrom, tls } = pool.spec.broker;
  return [urlFrom?.secretKeyRef.name, tls?.caFrom?.secretKeyRef.name].filter((name) => name !== undefined);
}

async function readUrl(
  pool: WorkerPool,
  secrets: SecretReader,
  signal: AbortSignal,
): Promise<{ kind: 'ok'; value: string } | { kind: 'problem'; reason: BrokerProblemReason; message: string }> {
  const { url, urlFrom } = pool.spec.broker;
  if (url !== undefined) return { kind: 'ok', value: url };
  if (urlFrom === undefined)
    return {
      kind: 'problem',
      reason: 'InvalidURL',
      message: 'spec.broker has neither url nor urlFrom; set one of them',
    };
  const { name, key } = urlFrom.secretKeyRef;
  const value = await secrets.read(pool.metadata.namespace, name, key, signal);
  if (value.kind === 'ok') return value;
  return { kind: 'problem', reason: value.reason, message: `broker.urlFrom: ${value.message}` };
}
