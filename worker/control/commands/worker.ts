/** Commands about the worker as a whole. Source: celery/worker/{control,worker}.py, celery/app/utils.py (`bugreport`). */
import { arch, type as systemType } from 'node:os';
import type { Prefetch } from '../../execution/prefetch.ts';
import { CommandError, countArg, noReply, nok, ok, textsArg, type Commands } from './command.ts';
import type { ControlContext } from './context.ts';

/** `ping`, `stats`, `conf`, `report`, `clock`, `registered`, `hello`, `memsample`, the size of the pool, events, `shutdown`. */
export function workerCommands(context: ControlContext): Commands {
  const { config, version, lamport, registry, events, heart, clock } = context;
  const startedMs = clock.monotonicMs();
  const software = `muster-worker:${version} node:${process.versions.node}`;

  const registered = (args: Readonly<Record<string, unknown>>): unknown => {
    const asked = args['taskinfoitems'];
    const wantsRate = !Array.isArray(asked) || asked.length === 0 || asked.includes('rate_limit');
    return registry.names.map((name) => {
      const perSecond = wantsRate ? context.executor().rateLimits.perSecond(name) : undefined;
      return perSecond === undefined ? name : `${name} [rate_limit=${showRate(perSecond)}]`;
    });
  };
  const conf = (): unknown => ({
    broker_url: config.broker.display,
    result_backend: config.backend?.display ?? null,
    result_expires: config.resultExpiresSeconds,
    broker_transport_options: {
      visibility_timeout: config.visibilityTimeoutSeconds,
      global_keyprefix: config.keyPrefix,
      priority_steps: config.prioritySteps,
    },
    enable_utc: true,
    timezone: 'UTC',
    task_acks_late: config.ack === 'late',
    worker_concurrency: config.concurrency,
    worker_prefetch_multiplier: multiplierOf(context.executor().prefetch),
    worker_send_task_events: events.isOn,
  });
  const resize = (change: number): void => {
    const { slots } = context.executor();
    if (slots.size + change < 1)
      throw new CommandError('ValueError', `the pool has ${slots.size} slots, one must stay`);
    context.executor().resize(slots.size + change);
    context.consumer().wake();
    void heart.beat();
  };

  return {
    ping: () => ok('pong'),
    clock: () => ({ clock: lamport.value }),
    registered,
    dump_tasks: registered,
    conf,
    dump_conf: conf,
    report: () =>
      ok(
        `\nsoftware -> ${software}\nplatform -> system:${systemType()} arch:${arch()}\nloader   -> muster-worker\nsettings -> transport:redis results:${config.backend?.display ?? 'disabled'}\n`,
      ),
    memsample: () => `${(process.memoryUsage.rss() / 1_048_576).toFixed(2)}MB`,
    stats() {
      const { slots, prefetch } = context.executor();
      const usage = process.resourceUsage();
      const { redis } = config.broker;
      return {
        total: Object.fromEntries(heart.total),
        pid: process.pid,
        clock: String(lamport.value),
        uptime: Math.round((clock.monotonicMs() - startedMs) / 1000),
        pool: {
          implementation: 'muster-worker:slots',
          'max-concurrency': slots.size,
          processes: [process.pid],
          'max-tasks-per-child': 'N/A',
          'put-guarded-by-semaphore': false,
          timeouts: [0, 0],
        },
        broker: { transport: 'redis', hostname: redis.host, port: redis.port, virtual_host: String(redis.db) },
        prefetch_count: prefetch === 'unlimited' ? 0 : slots.size * multiplierOf(prefetch),
        rusage: {
          utime: usage.userCPUTime / 1e6,
          stime: usage.systemCPUTime / 1e6,
          maxrss: usage.maxRSS,
          ...{ minflt: usage.minorPageFault, majflt: usage.majorPageFault, nswap: usage.swappedOut },
          ...{ inblock: usage.fsRead, oublock: usage.fsWrite, msgsnd: usage.ipcSent, msgrcv: usage.ipcReceived },
          ...{ nvcsw: usage.voluntaryContextSwitches, nivcsw: usage.involuntaryContextSwitches },
          ...{ ixrss: 0, idrss: 0, isrss: 0, nsignals: usage.signalsCount },
        },
      };
    },
    // Sent by a worker that starts: it wants to know what is revoked.
    hello({ from_node: from, revoked }) {
      if (from === config.hostname) return null;
      const nowMs = clock.now();
      // A list of ids, or before 5.7 an object by id.
      if (Array.isArray(revoked)) context.revoked.add(textsArg({ revoked }, 'revoked'), nowMs);
      else if (typeof revoked === 'object' && revoked !== null) context.revoked.add(Object.keys(revoked), nowMs);
      return { revoked: context.revoked.ids(nowMs), clock: lamport.forward() };
    },
    // Workers without gossip, such as this one, take no part.
    election: () => null,
    heartbeat() {
      void heart.beat();
      return null;
    },
    enable_events: () => ok(events.switch(true) ? 'task events enabled' : 'task events already enabled'),
    disable_events: () => ok(events.switch(false) ? 'task events disabled' : 'task events already disabled'),
    pool_grow(args) {
      resize(countArg(args, 'n', 1));
      return ok('pool will grow');
    },
    pool_shrink(args) {
      resize(-countArg(args, 'n', 1));
      return ok('pool will shrink');
    },
    autoscale() {
      throw new CommandError('ValueError', 'Autoscale not enabled');
    },
    pool_restart() {
      throw new CommandError('ValueError', 'Pool restarts not enabled');
    },
    shutdown() {
      context.log.warn('remote control asked the worker to end');
      context.shutdown();
      return noReply;
    },
    ...musterCommands(context),
  };
}

const policies = { Fair: 'fair', Unlimited: 'unlimited' } as const;

/**
 * Muster's own: `muster_drain` takes nothing more and hands back what does not run, `muster_resume` takes again,
 * `muster_prefetch {policy: Fair | Unlimited | Multiplier, multiplier}` changes how much may be held from now on.
 */
function musterCommands(context: ControlContext): Commands {
  return {
    muster_drain() {
      context.consumer().pause(true);
      const handedBack = context.executor().handBack();
      const { running } = context.executor().slots;
      context.log.info('drained by remote control', { handedBack, running });
      void context.heart.beat();
      return ok({ handedBack, running });
    },
    muster_resume() {
      const wasDrained = context.executor().isGivingBack;
      context.executor().takeAgain();
      context.consumer().pause(false);
      void context.heart.beat();
      return ok(wasDrained ? 'consuming' : 'was consuming already');
    },
    muster_prefetch(args) {
      const policy = args['policy'];
      let next: Prefetch;
      if (policy === 'Multiplier') next = countArg({ multiplier: args['multiplier'] ?? 0 }, 'multiplier', 0);
      else if (policy === 'Fair' || policy === 'Unlimited') next = policies[policy];
      else return nok('policy is none of Fair, Multiplier, Unlimited');
      context.executor().setPrefetch(next);
      void context.heart.beat();
      return ok(`prefetch is ${policy}${typeof next === 'number' ? ` ${next}` : ''} now`);
    },
  };
}

/** As Celery counts: fair holds as many messages as there are slots. */
function multiplierOf(prefetch: Prefetch): number {
  return prefetch === 'unlimited' ? 0 : prefetch === 'fair' ? 1 : prefetch;
}

/** A rate in the unit in which it is a readable number. */
function showRate(perSecond: number): string {
  const [unit, seconds] =
    perSecond >= 1 ? (['s', 1] as const) : perSecond * 60 >= 1 ? (['m', 60] as const) : (['h', 3600] as const);
  return `${Number((perSecond * seconds).toPrecision(6))}/${unit}`;
}
