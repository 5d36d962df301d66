/**
 * The routing table of the pools that share a broker, in the form of Celery's `task_routes` setting, and who claims
 * what twice. Pure.
 *
 * The form is one JSON object `{pattern: {"queue": name}}`. Celery makes one router of a dict: a task name that is a
 * key wins over every pattern, and keys with `*` are tried in the order of the dict, which `json.load` keeps. (A list
 * of pairs would not do: `task_routes` takes each element of a list for a router of its own.)
 */
import type { WorkerPool } from '../api/v1alpha1/workerpool.ts';

/** The table, and for each pool by name the sentences about claims that others make as well. */
export interface Routes {
  /** The text of `routes.json`. */
  readonly json: string;
  /** By pool name; a pool without a conflict is not in it. */
  readonly conflicts: ReadonlyMap<string, readonly string[]>;
}

/** One pool's wish that tasks matching `pattern` go to `queue`. */
interface Claim {
  readonly pool: string;
  readonly pattern: string;
  readonly queue: string;
}

/** Makes the table of the given pools, which must be of one namespace and one broker. */
export function buildRoutes(pools: readonly WorkerPool[]): Routes {
  const ranked = [...pools].sort(olderFirst);
  const conflicts = createConflicts();
  findSharedQueues(ranked, conflicts.add);
  const standing = settleClaims(ranked.flatMap(claimsOf), conflicts.add);
  return { json: formatRoutes([...standing.values()].sort(mostSpecificFirst)), conflicts: conflicts.byPool };
}

/** The older claim stands; creation times have whole seconds, so the name decides between twins. */
function olderFirst(a: WorkerPool, b: WorkerPool): number {
  return (
    compare(a.metadata.creationTimestamp, b.metadata.creationTimestamp) || compare(a.metadata.name, b.metadata.name)
  );
}

function claimsOf(pool: WorkerPool): Claim[] {
  return pool.spec.queues.flatMap((queue) =>
    (queue.tasks ?? []).map((pattern) => ({ pool: pool.metadata.name, pattern, queue: queue.name })),
  );
}

function findSharedQueues(ranked: readonly WorkerPool[], report: Report): void {
  const consumers = new Map<string, string[]>();
  for (const pool of ranked) {
    for (const { name } of pool.spec.queues) consumers.set(name, [...(consumers.get(name) ?? []), pool.metadata.name]);
  }
  for (const [queue, names] of consumers) {
    for (const name of names) {
      const others = names.filter((other) => other !== name);
      if (others.length === 0) continue;
      report(
        name,
        `queue ${queue} is consumed by ${poolsInWords(others)} as well, so that any of them may run its tasks; give every pool queues of its own`,
      );
    }
  }
}

/** Keeps the first claim of each pattern and reports the others, to both sides. */
function settleClaims(claims: readonly Claim[], report: Report): Map<string, Claim> {
  const standing = new Map<string, Claim>();
  for (const claim of claims) {
    const first = standing.get(claim.pattern);
    if (first === undefined) {
      standing.set(claim.pattern, claim);
    } else if (first.queue !== claim.queue) {
      reportClash(first, claim, report);
    }
  }
  return standing;
}

function reportClash(first: Claim, later: Claim, report: Report): void {
  const { pattern } = first;
  if (first.pool === later.pool) {
    report(
      first.pool,
      `tasks ${pattern} are claimed for queue ${first.queue} and for queue ${later.queue} of this pool, and the first stands; remove one of the two`,
    );
    return;
  }
  report(
    first.pool,
    `tasks ${pattern} are claimed for queue ${later.queue} by pool ${later.pool} as well; the older claim, of this pool, stands`,
  );
  report(
    later.pool,
    `tasks ${pattern} are claimed for queue ${first.queue} by pool ${first.pool} already, and the older claim stands; remove the pattern from one of the pools`,
  );
}

/**
 * Names before patterns, longer patterns before shorter ones (Celery takes the first that matches); then the pattern
 * with fewer wildcards, then the alphabet, so that the order never depends on the order of the pools.
 */
function mostSpecificFirst(a: Claim, b: Claim): number {
  return (
    Math.sign(wildcards(a.pattern)) - Math.sign(wildcards(b.pattern)) ||
    (wildcards(a.pattern) === 0 ? 0 : b.pattern.length - a.pattern.length) ||
    wildcards(a.pattern) - wildcards(b.pattern) ||
    compare(a.pattern, b.pattern)
  );
}

function wildcards(pattern: string): number {
  return pattern.split('*').length - 1;
}

/** Written by hand, one claim a line: a JavaScript object would move keys that look like numbers to the front. */
function formatRoutes(claims: readonly Claim[]): string {
  const lines = claims.map(({ pattern, queue }) => `  ${JSON.stringify(pattern)}: {"queue": ${JSON.stringify(queue)}}`);
  return lines.length === 0 ? '{}\n' : `{\n${lines.join(',\n')}\n}\n`;
}

type Report = (pool: string, sentence: string) => void;

function createConflicts(): { add: Report; byPool: Map<string, string[]> } {
  const byPool = new Map<string, string[]>();
  const add: Report = (pool, sentence) => {
    const sentences = byPool.get(pool) ?? [];
    byPool.set(pool, sentences);
    if (!sentences.includes(sentence)) sentences.push(sentence);
  };
  return { add, byPool };
}

/** `pool b`, `pools b and c`, `pools b, c, d and 4 more`: a sentence that stays readable. */
function poolsInWords(names: readonly string[]): string {
  const [first = '', ...rest] = names;
  if (rest.length === 0) return `pool ${first}`;
  const shown = names.slice(0, 3);
  const more = names.length - shown.length;
  const last = more > 0 ? `${more} more` : (shown.pop() ?? '');
  return `pools ${shown.join(', ')} and ${last}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
