/** The command of a Celery worker container. Pure. */
import { queueNames } from '../api/v1alpha1/defaults.ts';
import type { WorkerPool } from '../api/v1alpha1/workerpool.ts';
import { paths } from './names.ts';

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

/** Kubernetes expands `$(NAME)` in commands and in values of variables, and makes `$$` one `$`; this keeps a text as it is. */
export function escapeDollars(text: string): string {
  return text.replaceAll('$', '$$$$');
}
