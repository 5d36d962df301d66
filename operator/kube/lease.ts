/**
 * Leader election on a Lease: of several replicas one works. The holder renews; one that cannot renew stops its work
 * before anyone else may start. It then tries again from the beginning: an API server that was away for a minute costs
 * no restart.
 *
 *   t0 renewed        t0+renewMs: work is told to stop   t0+leaseMs: others may take it
 *   ├──────────────────────┼──────────────────────────────────┤
 *                          └─ work that has not ended by then: run() rejects, and the process must exit
 */
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import type { KubeClient } from './client.ts';
import { createDeadline } from './deadline.ts';
import { isKubeError } from './errors.ts';
import { buildHeldSpec, buildReleasedSpec, heldForMs, observeLease, type ObservedLease } from './leaseRecord.ts';
import type { KubeMetrics } from './metrics.ts';
import { resources, type RawLease } from './types.ts';

/**
 * Fail-over within 6 s was the aim: a follower looks every half second, so it sees the last renewal at most that late,
 * and takes the lease 5 s after it saw it. The leader has 3.5 s, three tries, to renew, and 1.5 s to stop.
 */
export const defaultLeaseTimes = { leaseMs: 5000, renewMs: 3500, retryMs: 1000 } as const;

/** What an election is built from. */
export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Unique to this process, also across restarts of a pod: pod name and a random part. */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: KubeMetrics;
  /** How long others respect a renewal; whole seconds. */
  readonly leaseMs?: number;
  /** A leader that has not renewed for this long stops. */
  readonly renewMs?: number;
  /** Time between renewals; followers look twice as often. */
  readonly retryMs?: number;
  /** The work of the leader: runs until its signal aborts, then ends quickly. A rejection ends the election. */
  readonly onStarted: (signal: AbortSignal) => Promise<void>;
  /** Called when the work has ended. */
  readonly onStopped?: () => void;
  /** Called when the holder changes, with its identity (empty: nobody). */
  readonly onHolder?: (identity: string) => void;
  /** 0 ≤ r < 1; `Math.random` when absent. */
  readonly random?: () => number;
}

/** A taking part in an election. */
export interface LeaderElection {
  /** Runs until the signal aborts (then gives the lease back). Rejects when the work failed or did not stop in time. */
  run(signal: AbortSignal): Promise<void>;
  isLeader(): boolean;
  /** For a health check: false when this process leads by a lease that is overdue (a stalled event loop). */
  isHealthy(): boolean;
}

/** Builds an election. It does nothing until run. */
export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { client, clock, namespace, name, identity, metrics } = options;
  const { leaseMs, renewMs, retryMs } = { ...defaultLeaseTimes, ...defined(options) };
  if (!(leaseMs > renewMs && renewMs > retryMs * 1.2 && leaseMs % 1000 === 0)) {
    throw new Error('lease times: leaseMs must be whole seconds, above renewMs, and renewMs above 1.2 × retryMs');
  }
  const random = options.random ?? Math.random;
  const log = options.log.child({ lease: `${namespace}/${name}`, identity });
  let observed: ObservedLease | undefined;
  let renewedMs: number | undefined;
  let holder: string | undefined;
  let isStale = true;
  metrics.leader.set({ name }, 0);

  const see = (lease: RawLease): ObservedLease => {
    observed = observeLease(observed, lease, clock.monotonicMs());
    const now = lease.spec?.holderIdentity ?? '';
    if (now !== holder) options.onHolder?.((holder = now));
    return observed;
  };

  /** Writes on top of the version last seen; a conflict means that someone else was there first. */
  const write = async (spec: NonNullable<RawLease['spec']>, signal: AbortSignal): Promise<void> => {
    // A third of the renew time for a try: a connection whose other end is gone must leave room for a try on a new one.
    const call = { fieldManager: 'muster-lease', signal, timeoutMs: renewMs / 3 };
    const resourceVersion = observed?.lease.metadata.resourceVersion;
    see(
      resourceVersion === undefined
        ? await client.create<RawLease>(resources.leases, namespace, { metadata: { name, namespace }, spec }, call)
        : await client.mergePatch<RawLease>(
            resources.leases,
            namespace,
            name,
            { metadata: { resourceVersion }, spec },
            call,
          ),
    );
  };

  const read = async (signal: AbortSignal): Promise<void> => {
    try {
      see(await client.get<RawLease>(resources.leases, namespace, name, { signal, timeoutMs: renewMs / 3 }));
    } catch (err) {
      if (!isKubeError(err, 'notFound')) throw err;
      observed = undefined;
    }
  };

  /** Takes or renews the lease; resolves to whether this process holds it. */
  const tryHold = async (signal: AbortSignal): Promise<boolean> => {
    const startMs = clock.monotonicMs(); // From before the request: others may have seen it that early.
    // A holder writes without reading first; a conflict makes the next round read.
    if (isStale || observed === undefined || !isHolder(observed, identity)) await read(signal);
    isStale = false;
    if (observed !== undefined && !isHolder(observed, identity) && heldForMs(observed, clock.monotonicMs()) > 0) {
      return false;
    }
    await write(buildHeldSpec(observed?.lease.spec, identity, leaseMs, clock.now()), signal);
    renewedMs = startMs;
    return true;
  };

  /** One round within a time limit. A failure is logged and is no holding. */
  const round = async (limitMs: number, signal: AbortSignal): Promise<boolean> => {
    const deadline = createDeadline(clock, limitMs, signal);
    try {
      return await tryHold(deadline.signal);
    } catch (err) {
      isStale = true; // A lost answer may hide a write of our own: the next round reads before it writes.
      if (!signal.aborted) log.warn('lease could not be taken or renewed', { err });
      return false;
    } finally {
      deadline.clear();
    }
  };

  /** Resolves to true when this process holds the lease, to false when the signal aborted. */
  const acquire = async (signal: AbortSignal): Promise<boolean> => {
    while (!signal.aborted) {
      if (await round(renewMs, signal)) return true;
      const expiresMs = observed === undefined ? Infinity : heldForMs(observed, clock.monotonicMs());
      const lookMs = (retryMs / 2) * (0.8 + 0.2 * random());
      await clock.sleep(expiresMs > 0 ? Math.min(lookMs, Math.ceil(expiresMs)) : lookMs, signal);
    }
    return false;
  };

  /** Renews until the work has ended or the lease is lost. */
  const keep = async (ended: AbortSignal): Promise<void> => {
    for (let held = true; ;) {
      await clock.sleep(held ? retryMs : retryMs / 4, ended);
      // Looked at before renewing: after a stall of this process the lease may long be someone else's.
      const leftMs = (renewedMs ?? 0) + renewMs - clock.monotonicMs();
      if (ended.aborted || leftMs <= 0) return;
      held = await round(leftMs, ended);
      if (!held && observed !== undefined && !isHolder(observed, identity)) return;
    }
  };

  const lead = async (signal: AbortSignal): Promise<void> => {
    log.info('leading');
    metrics.leader.set({ name }, 1);
    const stop = new AbortController();
    const ended = new AbortController();
    const onSignal = (): void => stop.abort();
    signal.addEventListener('abort', onSignal, { once: true });
    const working = options
      .onStarted(stop.signal)
      .then(() => {
        if (!stop.signal.aborted) throw new Error('the work of the leader ended before it was told to');
      })
      .finally(() => ended.abort());
    working.catch(() => undefined); // Awaited below; meanwhile its rejection is not unhandled.
    await keep(ended.signal); // Also while the work ends after `signal`: it must not outlive the lease.
    if (!ended.signal.aborted) {
      log.warn('no longer leading, stopping the work');
      stop.abort();
      await clock.sleep((renewedMs ?? 0) + leaseMs - clock.monotonicMs(), ended.signal);
    }
    signal.removeEventListener('abort', onSignal);
    metrics.leader.set({ name }, 0);
    if (!isAborted(ended.signal)) {
      renewedMs = undefined; // Nothing to give back: the lease may already be another's while our work still runs.
      throw new Error('the work of the leader did not stop before the lease ran out');
    }
    options.onStopped?.();
    await working;
  };

  const release = async (): Promise<void> => {
    if (observed === undefined || !isHolder(observed, identity) || renewedMs === undefined) return;
    const deadline = createDeadline(clock, renewMs);
    try {
      await write(buildReleasedSpec(observed.lease.spec, clock.now()), deadline.signal);
      log.info('lease given back');
    } catch (err) {
      log.warn('lease could not be given back: the next leader waits for it to run out', { err });
    } finally {
      deadline.clear();
    }
  };

  return {
    run: async (signal) => {
      try {
        while (await acquire(signal)) {
          await lead(signal);
          if (!signal.aborted) renewedMs = undefined;
        }
      } finally {
        await release();
        renewedMs = undefined;
      }
    },
    isLeader: () => renewedMs !== undefined,
    isHealthy: () => renewedMs === undefined || clock.monotonicMs() - renewedMs < leaseMs,
  };
}

function isHolder(observed: ObservedLease, identity: string): boolean {
  return observed.lease.spec?.holderIdentity === identity;
}

/** A call instead of a property: the compiler cannot know that a signal aborts between two looks at it. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** The times that were given, without those that are undefined. */
function defined(options: LeaderElectionOptions): Partial<{ leaseMs: number; renewMs: number; retryMs: number }> {
  const { leaseMs, renewMs, retryMs } = options;
  return Object.fromEntries(Object.entries({ leaseMs, renewMs, retryMs }).filter(([, value]) => value !== undefined));
}
