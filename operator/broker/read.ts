/**
 * One read of a broker: which commands go into the round trip, and what the answers mean. It decides nothing about when.
 *
 * Lists are asked before `unacked`, in that order on purpose: a message on its way from a list to a worker is then seen
 * twice at worst. The other order could miss it and show a pool with work as empty.
 */
import type { Command, Reply } from './connection.ts';
import type { BrokerEndpoint } from './endpoint.ts';
import { BrokerError, readOnlyFailure, replyFailure } from './failures.ts';
import { separator } from './keys.ts';

/** A queue and its lists. */
export interface QueueLists {
  readonly name: string;
  readonly keys: readonly string[];
  /** Whether its lists were empty when they were read last. */
  readonly wasEmpty: boolean;
}

/** What to read. */
export interface ReadPlan {
  readonly queues: readonly QueueLists[];
  /** A step of the count of unacknowledged messages, to go along. */
  readonly held: readonly Command[];
  /** Whether to check the broker itself: its role and, where it announces changes, that it still does. */
  readonly check: boolean;
}

/** How many wait in a queue, or why that is not known. */
export type ReadyReading =
  | { readonly kind: 'ok'; readonly ready: number }
  | {
      readonly kind: 'unknown';
      readonly why: string;
      /** Whether asking again soon may help. */ readonly retry: boolean;
    };

/** What was read. */
export interface ReadResult {
  /** In the order of the plan's queues. */
  readonly ready: readonly ReadyReading[];
  /** The answers to the step of the count. */
  readonly held: readonly Reply[];
  /** False when the broker has stopped announcing changes. */
  readonly announces: boolean;
}

/** What a read needs of its session. */
export interface ReadContext {
  readonly endpoint: BrokerEndpoint;
  readonly tracking: 'push' | 'poll';
  send(commands: readonly Command[]): Promise<readonly Reply[]>;
}

/** How many keys one command asks for: Redis serves nobody else meanwhile. */
const mostKeys = 1_000;

/**
 * Reads. Rejects with a BrokerError when the broker as a whole cannot be read.
 *
 * Where everything is read, most queues of an idle fleet are empty and have been: of these one command asks for many at a
 * time whether there is any list. Only if there is one, or the user may not run EXISTS, each is asked for its length.
 */
export async function readBroker(context: ReadContext, plan: ReadPlan): Promise<ReadResult> {
  const isWhole = plan.check || context.tracking === 'poll';
  const presumed = new Set(isWhole ? plan.queues.filter(({ wasEmpty }) => wasEmpty) : []);
  if (presumed.size > 0) {
    const asked = ask(context, plan, presumed);
    const replies = await context.send(asked.commands);
    const exist = replies.slice(0, asked.listsAt);
    if (exist.every((reply) => reply.kind === 'ok' && reply.value === 0))
      return understand(context, plan, asked, replies);
  }
  const asked = ask(context, plan, new Set());
  return understand(context, plan, asked, await context.send(asked.commands));
}

/** The commands of a round trip, and where in it what begins; -1 for what is not asked. */
interface Asked {
  readonly commands: readonly Command[];
  /** Queues that are asked only whether they are still empty. */
  readonly presumed: ReadonlySet<QueueLists>;
  readonly listsAt: number;
  readonly heldAt: number;
  readonly roleAt: number;
  readonly trackingAt: number;
}

function ask(context: ReadContext, plan: ReadPlan, presumed: ReadonlySet<QueueLists>): Asked {
  const commands: Command[] = [];
  const keys = [...presumed].flatMap((queue) => queue.keys);
  for (let at = 0; at < keys.length; at += mostKeys) commands.push(['exists', ...keys.slice(at, at + mostKeys)]);
  const listsAt = commands.length;
  for (const queue of plan.queues) {
    if (!presumed.has(queue)) for (const key of queue.keys) commands.push(['llen', key]);
  }
  const heldAt = commands.length;
  commands.push(...plan.held);
  const roleAt = plan.check ? commands.push(['info', 'replication']) - 1 : -1;
  const trackingAt = plan.check && context.tracking === 'push' ? commands.push(['client', 'TRACKINGINFO']) - 1 : -1;
  return { commands, presumed, listsAt, heldAt, roleAt, trackingAt };
}

function understand(context: ReadContext, plan: ReadPlan, asked: Asked, replies: readonly Reply[]): ReadResult {
  const ready = readReady(context.endpoint, plan.queues, asked, replies);
  if (isReadOnlyReplica(replies[asked.roleAt])) throw readOnlyFailure(context.endpoint);
  const held = replies.slice(asked.heldAt, asked.heldAt + plan.held.length);
  return { ready, held, announces: stillAnnounces(replies[asked.trackingAt]) };
}

function readReady(
  endpoint: BrokerEndpoint,
  queues: readonly QueueLists[],
  { presumed, listsAt }: Asked,
  replies: readonly Reply[],
): readonly ReadyReading[] {
  let next = listsAt;
  let refused: BrokerError | undefined;
  const ready = queues.map((queue): ReadyReading => {
    if (presumed.has(queue)) return { kind: 'ok', ready: 0 };
    const { keys } = queue;
    let sum = 0;
    let unknown: ReadyReading | undefined;
    for (const key of keys) {
      const reply = replies[next++];
      if (reply?.kind === 'ok') {
        sum += Number(reply.value);
        continue;
      }
      const failure = replyFailure(endpoint, `LLEN on ${showKey(key)}`, reply?.error ?? new Error('no answer'));
      if (!concernsOneKey(failure, reply?.error)) throw failure;
      if (failure.reason === 'NoPermission') refused ??= failure;
      unknown ??= { kind: 'unknown', why: failure.message, retry: failure.reason === 'NoPermission' };
    }
    return unknown ?? { kind: 'ok', ready: sum };
  });
  // One queue that may not be read is that pool's affair; none that may be read is the broker's.
  if (refused !== undefined && ready.every((each) => each.kind === 'unknown')) throw refused;
  return ready;
}

/** A key of the wrong type, or one outside the user's key patterns, says nothing about the other queues. */
function concernsOneKey(failure: BrokerError, error: Error | undefined): boolean {
  const text = error?.message ?? '';
  return text.startsWith('WRONGTYPE') || (failure.reason === 'NoPermission' && /\bkeys?\b/.test(text));
}

/** A key as people write it: kombu separates the priority with control characters. */
function showKey(key: string): string {
  const [queue, step] = key.split(separator);
  return step === undefined ? key : `${queue ?? ''} (priority ${step})`;
}

/** Where INFO is not permitted nothing is known, and nothing is claimed. */
function isReadOnlyReplica(reply: Reply | undefined): boolean {
  if (reply?.kind !== 'ok') return false;
  const text = String(reply.value);
  return /^role:slave\r?$/m.test(text) && !/^slave_read_only:0\r?$/m.test(text);
}

/** An answer that cannot be had (Redis 6.0, ACL) is no reason to doubt; one that says "off" or "broken" is. */
function stillAnnounces(reply: Reply | undefined): boolean {
  if (reply?.kind !== 'ok' || !Array.isArray(reply.value)) return true;
  const info = reply.value as unknown[];
  const flags = info[info.indexOf('flags') + 1];
  return !Array.isArray(flags) || (flags.includes('on') && !flags.includes('broken_redirect'));
}
