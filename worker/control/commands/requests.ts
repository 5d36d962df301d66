/** Commands that show what tasks are in the worker, in Celery's form. Source: celery/worker/{control,request}.py. */
import type { Request, RequestPhase } from '../../execution/request.ts';
import { formatIsoTime } from '../../protocol/isoTime.ts';
import { isTrueArg, textsArg, type Commands } from './command.ts';
import type { ControlContext } from './context.ts';

/** The timer priority that Celery shows for a task with an ETA. */
const etaPriority = 6;

const stateName: Readonly<Record<RequestPhase, string>> = {
  ...{ scheduled: 'scheduled', waiting: 'reserved', running: 'active', done: 'ready' },
};

/** `active`, `reserved`, `scheduled`, `query_task` and their old names. */
export function requestCommands(context: ControlContext): Commands {
  const { hostname } = context.config;
  const requests = (phase: RequestPhase): Request[] =>
    [...context.executor().requests()].filter((request) => request.phase === phase);
  const info = (request: Request, isSafe = false): Readonly<Record<string, unknown>> => {
    const { message, startedAtMs, isAcked } = request;
    return {
      id: message.id,
      name: message.task,
      args: isSafe ? (message.argsRepr ?? '') : message.args,
      kwargs: isSafe ? (message.kwargsRepr ?? '') : message.kwargs,
      type: message.task,
      hostname,
      time_start: startedAtMs === undefined ? null : startedAtMs / 1000,
      acknowledged: isAcked,
      delivery_info: {
        exchange: message.exchange,
        routing_key: message.routingKey,
        priority: message.priority,
        redelivered: message.redelivered,
      },
      worker_pid: startedAtMs === undefined ? null : process.pid,
    };
  };
  const active = (args: Readonly<Record<string, unknown>>): unknown =>
    requests('running').map((request) => info(request, isTrueArg(args, 'safe')));
  const reserved = (): unknown => requests('waiting').map((request) => info(request));
  const scheduled = (): unknown =>
    requests('scheduled').map((request) => ({
      eta: request.message.etaMs === undefined ? null : formatIsoTime(request.message.etaMs),
      priority: etaPriority,
      request: info(request),
    }));
  return {
    active,
    dump_active: active,
    reserved,
    dump_reserved: reserved,
    scheduled,
    dump_schedule: scheduled,
    query_task(args) {
      const ids = new Set(textsArg(args, 'ids'));
      const found = [...context.executor().requests()].filter(({ message }) => ids.has(message.id));
      return Object.fromEntries(found.map((each) => [each.message.id, [stateName[each.phase], info(each)]]));
    },
  };
}
