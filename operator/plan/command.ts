/** The command of a worker container. Pure. */
import { prefetchMultiplier, queueNames } from '../api/v1alpha1/defaults.ts';
import type { WorkerPool, WorkerPoolSpec } from '../api/v1alpha1/workerpool.ts';
import { nodeWorkerPort, paths } from './names.ts';

/**
 * Puts Muster's folder behind whatever PYTHONPATH the image has. An environment variable of the pod could only replace
 * it, and the app would no longer be found.
 */
const withMusterOnPath = `export PYTHONPATH="\${PYTHONPATH:+$PYTHONPATH:}${paths.worker}"; exec "$@"`;

/**
 * The command that runs the worker, or undefined when the template's own command is to run.
 * `-Q` is always there: a worker without it was seen to consume queues that it had only published to.
 */
export function buildCommand(pool: WorkerPool): string[] | undefined {
  const { spec, metadata } = pool;
  if (spec.runtime.node !== undefined) return buildNodeCommand(pool, spec.runtime.node.tasks);
  if (spec.runtime.celery === undefined) return undefined;
  const celery = [
    ...['celery', '-A', escapeDollars(spec.runtime.celery.app), 'worker'],
    ...['-I', 'muster_worker'],
    ...['-Q', escapeDollars(queueNames(spec).join(','))],
    ...['-c', String(spec.concurrency)],
    ...['-P', spec.runtime.celery.pool],
    ...['-n', `${metadata.name}@$(POD_NAME)`],
    '--without-gossip',
    '--without-mingle',
    ...['--loglevel', 'INFO'],
  ];
  return ['/bin/sh', '-c', withMusterOnPath, 'muster', ...celery];
}

/**
 * Finds the command of the package where npm puts it, relative to the image's working directory. `exec`, so that the worker
 * is the one that gets SIGTERM.
 */
const withPackagesOnPath = 'export PATH="$PWD/node_modules/.bin:$PATH"; exec "$@"';

function buildNodeCommand({ spec, metadata }: WorkerPool, tasks: string): string[] {
  const worker = [
    'muster-worker',
    ...['--tasks', escapeDollars(tasks)],
    ...['--queues', escapeDollars(queueNames(spec).join(','))],
    ...['--concurrency', String(spec.concurrency)],
    ...['--prefetch', prefetchOf(spec)],
    ...['--ack', spec.ackMode === 'Early' ? 'early' : 'late'],
    ...['--hostname', `${metadata.name}@$(POD_NAME)`],
    ...['--drain-seconds', String(spec.longestTaskSeconds)],
    ...(spec.broker.tls?.caFrom === undefined ? [] : ['--ca-file', paths.caFile]),
    // All addresses of the pod: the kubelet asks from outside.
    ...['--listen-address=', '--port', String(nodeWorkerPort)],
  ];
  return ['/bin/sh', '-c', withPackagesOnPath, 'muster', ...worker];
}

function prefetchOf(spec: WorkerPoolSpec): string {
  if (spec.prefetch.policy === 'Fair') return 'fair';
  return spec.prefetch.policy === 'Unlimited' ? 'unlimited' : String(prefetchMultiplier(spec));
}

/** Kubernetes expands `$(NAME)` in commands and in values of variables, and makes `$$` one `$`; this keeps a text as it is. */
export function escapeDollars(text: string): string {
  return text.replaceAll('$', '$$$$');
}
