/** Commands that act on tasks: revoke, rate and time limits. Source: celery/worker/control.py. */
import type { Request } from '../../execution/request.ts';
import { describeError } from '../../protocol/failure.ts';
import { reprValue } from '../../protocol/pythonRepr.ts';
import { failureMeta } from '../../protocol/result.ts';
import { TaskRevokedError } from '../../task/errors.ts';
import { parseRate } from '../../task/rate.ts';
import { carries } from '../revoked.ts';
import { CommandError, isTrueArg, nok, ok, textArg, textsArg, type Commands } from './command.ts';
import type { ControlContext } from './context.ts';

type Arguments = Readonly<Record<string, unknown>>;

/** `revoke`, `terminate`, `revoke_by_stamped_headers`, `revoked`, `rate_limit`, `time_limit`. */
export function taskCommands(context: ControlContext): Commands {
  const { registry, clock, log } = context;

  const revoke = (args: Arguments): unknown => {
    const ids = new Set(textsArg(args, 'task_id'));
    const isTerminating = isTrueArg(args, 'terminate');
    context.revoked.add(ids, clock.now());
    const here = new Set(
      [...context.executor().requests()].map(({ message }) => message.id).filter((id) => ids.has(id)),
    );
    const ended = context.executor().revoke(({ id }) => ids.has(id), isTerminating);
    for (const id of ids) {
      // Whoever waits for a task that is still in its queue is told now, unless some worker has begun or ended it.
      if (!here.has(id)) {
        const error = describeError(new TaskRevokedError('revoked'));
        context.backend.revoke(failureMeta(id, 'REVOKED', error, { dateDoneMs: clock.now() }));
      }
    }
    log.info('tasks are revoked', { ids: [...ids].slice(0, 20), count: ids.size, terminate: isTerminating });
    if (!isTerminating) return ok(`tasks ${reprSet(ids)} flagged as revoked`);
    return ok(ended.length === 0 ? 'terminate: tasks unknown' : `terminate: ${ended.join(', ')}`);
  };
  const revoked = (): unknown => context.revoked.ids(clock.now());

  return {
    revoke,
    terminate: (args) => revoke({ ...args, terminate: true }),
    revoked,
    dump_revoked: revoked,
    revoke_by_stamped_headers(args) {
      const stamps = readStamps(args['headers']);
      context.revoked.addStamps(stamps);
      const shown = reprValue(stamps);
      if (!isTrueArg(args, 'terminate')) {
        context.executor().revoke((message) => context.revoked.has(message), false);
        return ok(`headers ${shown} flagged as revoked, but not terminated`);
      }
      const values = Object.entries(stamps).map(([name, list]) => [name, new Set(list)] as const);
      const isMeant = ({ stamps: own }: Request['message']): boolean =>
        own !== undefined && values.some(([name, list]) => carries(own, name, list));
      const ended = context.executor().revoke(isMeant, true);
      return ok(ended.length === 0 ? `headers ${shown} were not terminated` : `headers ${shown} revoked`);
    },
    rate_limit(args) {
      const name = textArg(args, 'task_name');
      const given = args['rate_limit'] ?? null;
      const isRate = given === null || typeof given === 'string' || typeof given === 'number';
      const rate = isRate ? parseRate(given) : undefined;
      if (rate === undefined) return nok(`Invalid rate limit string: ${reprValue(given)}`);
      if (registry.find(name) === undefined) return nok('unknown task');
      context.executor().rateLimits.set(name, rate.perSecond);
      context.consumer().wake();
      return ok(rate.perSecond === undefined ? 'rate limit disabled successfully' : 'new rate limit set successfully');
    },
    time_limit(args) {
      const name = textArg(args, 'task_name');
      if (registry.find(name) === undefined) return nok('unknown task');
      context.timeLimits.set(name, { softSeconds: secondsArg(args, 'soft'), hardSeconds: secondsArg(args, 'hard') });
      return ok('time limits set successfully');
    },
  };
}

function secondsArg(args: Arguments, name: string): number | undefined {
  const value = args[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new CommandError('ValueError', `${name} is not a number of seconds`);
}

/** `{stamp: value or values}`, or the command line's list of `stamp=value`. */
function readStamps(headers: unknown): Record<string, unknown[]> {
  const pairs: [string, unknown][] = Array.isArray(headers)
    ? textsArg({ headers }, 'headers').map((text) => {
        const [name = '', value = ''] = text.split('=');
        return [name, value];
      })
    : typeof headers === 'object' && headers !== null
      ? Object.entries(headers)
      : [];
  if (pairs.length === 0) throw new CommandError('TypeError', 'headers names no stamp');
  return Object.fromEntries(
    pairs.map(([name, value]) => [name, Array.isArray(value) ? (value as unknown[]) : [value]]),
  );
}

/** A set of texts as Python shows it. */
function reprSet(ids: ReadonlySet<string>): string {
  return ids.size === 0 ? 'set()' : `{${[...ids].map(reprValue).join(', ')}}`;
}
