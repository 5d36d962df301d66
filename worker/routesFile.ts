/** The routing table of a pool as a file, as its Python workers load it; looked at again when something is sent. */
import { readFileSync, statSync } from 'node:fs';
import type { Clock } from '../operator/runtime/clock.ts';
import type { Logger } from '../operator/runtime/log.ts';
import { createRouter, type Router, type RouteTable } from './client/routes.ts';

/** How often (ms), at most, a task that is sent pays for a look (one stat) at the file. */
const lookMs = 1_000;

/**
 * Gives the queue of a task by a file in the form of Celery's `task_routes`. A file that is missing is an empty table: a pool
 * of a namespace without routes has none. A broken one is said once, and leaves the last good table in place.
 */
export function createRoutesFile(path: string, clock: Clock, log: Logger): Router {
  let router: Router = () => undefined;
  let stamp = '';
  let lookAtMs = -Infinity;

  const look = (): void => {
    if (clock.monotonicMs() < lookAtMs) return;
    lookAtMs = clock.monotonicMs() + lookMs;
    // Follows the links by which Kubernetes swaps a ConfigMap: another inode.
    const found = statSync(path, { throwIfNoEntry: false });
    const seen = found === undefined ? '' : `${found.mtimeMs}:${found.ino}:${found.size}`;
    if (seen === stamp) return;
    stamp = seen;
    if (found === undefined) {
      router = () => undefined;
      return;
    }
    try {
      const table: unknown = JSON.parse(readFileSync(path, 'utf8'));
      if (typeof table !== 'object' || table === null || Array.isArray(table)) throw new TypeError('it is no object');
      router = createRouter(table as RouteTable);
    } catch (err) {
      log.error('the routes file cannot be used; the last good one stands', { path, err });
    }
  };

  return (task) => {
    look();
    return router(task);
  };
}
