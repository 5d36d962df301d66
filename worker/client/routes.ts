/**
 * Which queue a task is sent to, by the table that workers use too. Pure. The form is that of Celery's `task_routes`:
 * `{pattern: {"queue": name}}`; a name that is a key wins over every pattern, and patterns are tried in the order of the table.
 * Source: celery/app/routes.py (MapRoute), Python's fnmatch.
 */

/** A routing table, as `routes.json` holds it. */
export type RouteTable = Readonly<Record<string, { readonly queue: string }>>;

/** Finds the queue of a task; undefined when the table does not name it. */
export type Router = (task: string) => string | undefined;

/**
 * Reads a table.
 * @throws TypeError for an entry that names no queue
 */
export function createRouter(table: RouteTable): Router {
  const exact = new Map<string, string>();
  const patterns: (readonly [RegExp, string])[] = [];
  for (const [pattern, route] of Object.entries(table)) {
    const queue: unknown = (route as { queue?: unknown } | null | undefined)?.queue;
    if (typeof queue !== 'string' || queue === '') {
      throw new TypeError(`the route of ${pattern} names no queue; write { "${pattern}": { "queue": "NAME" } }`);
    }
    if (pattern.includes('*')) patterns.push([fnmatch(pattern), queue]);
    else exact.set(pattern, queue);
  }
  return (task) => exact.get(task) ?? patterns.find(([pattern]) => pattern.test(task))?.[1];
}

/** Python's fnmatch.translate: `*`, `?`, `[abc]`, `[!abc]`. */
function fnmatch(pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] ?? '';
    // A bracket right behind the opening one is a member of the set.
    const end = char === '[' ? pattern.indexOf(']', at + (pattern[at + 1] === '!' ? 3 : 2)) : -1;
    if (char === '*') source += '.*';
    else if (char === '?') source += '.';
    else if (end > 0) {
      const members = pattern.slice(at + 1, end).replace(/[\\\]^]/g, '\\$&');
      source += members.startsWith('!') ? `[^${members.slice(1)}]` : `[${members}]`;
      at = end;
    } else source += char.replace(/[\\^$.|?*+()[\]{}]/g, '\\$&');
  }
  return new RegExp(`^(?:${source})$`, 's');
}
