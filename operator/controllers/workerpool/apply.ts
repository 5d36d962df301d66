/**
 * Writes what a pool should be: its Deployment, and its size. The two have different owners (field managers), because a
 * server-side apply that stops mentioning `replicas` resets the field to 1:
 *
 *   first time   apply (paused: the default of one replica starts no pod) → scale → apply (let go)
 *   afterwards   scale when the decision differs → apply when the intent differs or somebody changed the Deployment
 *
 * Nothing is written while a pool's broker or routing is not known: a Deployment built from half of the facts would
 * roll every worker twice.
 */
import type { KubeClient } from '../../kube/client.ts';
import { isKubeError } from '../../kube/errors.ts';
import { resources } from '../../kube/types.ts';
import { buildDeployment, type DeploymentBody } from '../../plan/deployment.ts';
import type { DeploymentProblem } from '../../plan/facts.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ReconcileContext } from '../../runtime/controller.ts';
import type { Freshness } from '../../runtime/freshness.ts';
import type { Decision } from '../../scaling/decide.ts';
import type { Signals } from '../../signals/signals.ts';
import type { EventRecorder } from '../../kube/events.ts';
import { intentHash } from '../intent.ts';
import { intentAnnotation, type DeploymentRecord } from '../records.ts';
import * as events from './events.ts';
import type { Observed } from './gather.ts';
import type { PoolMemory } from './memory.ts';
import type { PoolMetrics } from './metrics.ts';

const templateManager = 'muster-workerpool';
const scaleManager = 'muster-scaler';
/** The intent of a Deployment that is held back until its size is written, whatever else it says. */
const bornIntent = 'born';

/** What writing needs. */
export interface ApplyDeps {
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly metrics: PoolMetrics;
  readonly freshness: Freshness;
  readonly clock: Clock;
}

/** One look at a pool, as far as writing needs it. */
export interface ApplyInput {
  readonly poolKey: string;
  readonly observed: Observed;
  readonly signals: Signals;
  readonly decision: Decision;
  readonly memory: PoolMemory;
  readonly context: ReconcileContext;
}

/** Brings the Deployment and its size to what they should be; remembers the change of size, if any. Rejects with KubeError. */
export async function applyPool(deps: ApplyDeps, input: ApplyInput): Promise<void> {
  const { observed } = input;
  const { broker, routing, nameTaken } = observed;
  // Pods of a Deployment that mounts what is not there would wait for it for ever.
  if (broker.kind === 'problem' || routing === undefined || routing.problem !== undefined || nameTaken) {
    // To scale rolls nothing: a size that the user fixed needs no broker, and one from the load needs no table.
    const hasSize = observed.pool.spec.replicas !== undefined || (broker.kind === 'ok' && routing !== undefined);
    if (hasSize && !nameTaken && isThere(observed)) await scaleIfNeeded(deps, input, false);
    return;
  }
  const { routesConfigMap } = routing;
  const build = (paused: boolean): DeploymentBody => buildDeployment(observed.pool, { routesConfigMap, paused });
  const existing = observed.deployment;
  const isNewborn = existing === undefined || isBorn(existing);
  if (existing === undefined) {
    await applyDeployment(deps, input, withIntent(build(true), bornIntent));
    deps.events.record(events.aboutPool(observed.pool), events.created(observed.pool.metadata.name));
  }
  const hash = hashOnce(input, routesConfigMap, () => intentHash(build(false)));
  const isIntended = intentOf(existing) === hash;
  // A process that has written nothing yet takes what it finds for its own. Otherwise edits would never be put back after
  // a restart; and writing once to be sure would cost a write per pool.
  if (isIntended) input.memory.deploymentGeneration ??= existing?.metadata.generation;
  // Asked before the size is written, which moves the generation as well.
  const touched = isTouched(existing, input.memory);
  await scaleIfNeeded(deps, input, isNewborn);
  if (isNewborn || touched || !isIntended) await applyDeployment(deps, input, withIntent(build(false), hash));
}

/** The hash is remembered for as long as the pool is what it was: a thousand idle pools are not rendered at every look. */
function hashOnce({ observed: { pool }, memory }: ApplyInput, routesConfigMap: string, hash: () => string): string {
  const of = `${pool.metadata.resourceVersion} ${routesConfigMap}`;
  if (memory.intent?.of !== of) memory.intent = { of, hash: hash() };
  return memory.intent.hash;
}

/**
 * How many pods the Deployment asks for. One that was born and not let go (an operator ended between two writes) asks
 * for none, though the API server's default is in its spec.
 */
export function currentReplicas({ deployment }: Observed): number {
  return deployment === undefined || isBorn(deployment) ? 0 : deployment.spec.replicas;
}

/** Whether the pool has a Deployment that was let go. */
function isThere({ deployment }: Observed): boolean {
  return deployment !== undefined && !isBorn(deployment);
}

/** Whether this is still what the first of the three writes made. */
function isBorn(deployment: DeploymentRecord): boolean {
  return intentOf(deployment) === bornIntent;
}

/** Whether somebody else changed the spec since our own last write, or since the first look of this process. */
function isTouched(existing: DeploymentRecord | undefined, memory: PoolMemory): boolean {
  return memory.deploymentGeneration !== undefined && memory.deploymentGeneration !== existing?.metadata.generation;
}

/** The size to write: the decision, or what is there when the pool only recommends. */
function targetReplicas({ observed, decision }: ApplyInput, isNewborn: boolean, current: number): number {
  const { spec } = observed.pool;
  if (spec.scaling.mode === 'Auto' || spec.replicas !== undefined) return decision.replicas;
  return isNewborn ? spec.scaling.minReplicas : current;
}

async function scaleIfNeeded(deps: ApplyDeps, input: ApplyInput, isNewborn: boolean): Promise<void> {
  const { poolKey, observed, signals, decision, memory, context } = input;
  const { namespace, name } = observed.pool.metadata;
  // A newborn has the API server's default of 1 in its spec, and no pod, because it is paused.
  const specReplicas = observed.deployment?.spec.replicas ?? 1;
  const from = isNewborn ? 0 : specReplicas;
  const to = targetReplicas(input, isNewborn, from);
  if (to === from && !isNewborn) return;
  const options = { fieldManager: scaleManager, signal: context.signal };
  const scale = await deps.client.scale(resources.deployments, namespace, name, to, options);
  deps.freshness.wrote(poolKey, resources.deployments, scale.resourceVersion);
  if (memory.deploymentGeneration !== undefined && to !== specReplicas) memory.deploymentGeneration += 1;
  if (to === from) return;
  memory.scaled = { from, to, atMs: deps.clock.now(), decision, signals };
  deps.metrics.scaled(namespace, name, decision.reason, (deps.clock.monotonicMs() - observed.readAtMs) / 1000);
  deps.events.record(events.aboutPool(observed.pool), events.scaled(from, { ...decision, replicas: to }));
  context.log.info('scaled', { from, to, reason: decision.reason, why: decision.message });
}

async function applyDeployment(
  deps: ApplyDeps,
  { poolKey, memory, context }: ApplyInput,
  body: DeploymentBody,
): Promise<void> {
  const applied = await deps.client.apply<DeploymentRecord>(resources.deployments, body, {
    fieldManager: templateManager,
    signal: context.signal,
  });
  deps.freshness.wrote(poolKey, resources.deployments, applied.metadata.resourceVersion);
  if (applied.metadata.generation !== undefined) memory.deploymentGeneration = applied.metadata.generation;
}

function withIntent(body: DeploymentBody, intent: string): DeploymentBody {
  const annotations = { ...body.metadata.annotations, [intentAnnotation]: intent };
  return { ...body, metadata: { ...body.metadata, annotations } };
}

function intentOf(
  object: { readonly metadata: { readonly annotations?: Readonly<Record<string, string>> | undefined } } | undefined,
): string | undefined {
  return object?.metadata.annotations?.[intentAnnotation];
}

/** Why the Deployment could not be written, when the user can mend it; undefined for failures that pass by themselves. */
export function deploymentProblem(observed: Observed, err?: unknown): DeploymentProblem | undefined {
  const { name, namespace } = observed.pool.metadata;
  if (observed.nameTaken) {
    const message = `Deployment ${name} exists and does not belong to this pool; delete or rename it, or give the pool another name`;
    return { reason: 'NameTaken', message };
  }
  // A pool that runs goes on with the table that it has; that this one is old is said by `Routed`.
  const routingProblem = isThere(observed) ? undefined : observed.routing?.problem;
  if (routingProblem !== undefined) return { reason: 'Forbidden', message: routingProblem };
  if (isKubeError(err, 'invalid', 'badRequest'))
    return { reason: 'TemplateInvalid', message: `the API server refuses the Deployment: ${err.message}` };
  if (isKubeError(err, 'forbidden'))
    return {
      reason: 'Forbidden',
      message: `Deployment ${name} in namespace ${namespace} cannot be written: ${err.message}`,
    };
  return undefined;
}
