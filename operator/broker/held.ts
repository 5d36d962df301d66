/**
 * Counts, by queue, the messages that workers have taken and not acknowledged (kombu's hash `unacked`, one for all
 * queues of a database). The counting happens inside Redis by a script; where scripts are not permitted the hash is
 * scanned from here, with a much lower bound, because then every message crosses the network.
 *
 * Not a snapshot: an entry that moves while the hash is resized between two chunks may be counted twice, never missed.
 */
import { parseBindings, resolveQueues, type Binding } from './bindings.ts';
import type { Command, Reply } from './connection.ts';
import type { BrokerEndpoint } from './endpoint.ts';
import { bindingKey, unackedKey } from './keys.ts';
import { heldScript } from './lua/held.ts';
import { decodeRoute, parseTail, type Route } from './tail.ts';

/** Held messages by queue; a queue without an entry holds none. */
export type HeldReading =
  | { readonly kind: 'ok'; readonly byQueue: ReadonlyMap<string, number> }
  | { readonly kind: 'unknown'; readonly why: string };

/** Bounds of a count. */
export interface HeldLimits {
  /** More entries than this are not counted. */
  readonly maxEntries: number;
  /** The same where the hash is scanned over the network. */
  readonly maxScannedEntries: number;
  /** What one call of the script may visit, so that it holds Redis up for about a millisecond. */
  readonly chunkEntries: number;
  readonly chunkBytes: number;
}

/** The bounds in production. */
export const heldLimits: HeldLimits = {
  maxEntries: 50_000,
  maxScannedEntries: 2_000,
  chunkEntries: 1_000,
  chunkBytes: 1_000_000,
};

/** Counts held messages over one session. */
export interface HeldReader {
  /** The command that begins a count, to be sent along with others. */
  begin(): Command;
  /** Finishes the count that the answer begins, with more round trips where the hash is large. */
  finish(reply: Reply, send: Send): Promise<HeldReading>;
  /** Forgets what is known of bindings: all, or those under one key. Gives whether something was forgotten. */
  forgetBindings(key?: string): boolean;
}

type Send = (commands: readonly Command[]) => Promise<readonly Reply[]>;
type Counts = Map<string, { route: Route; count: number }>;

/** Builds the reader of one session. */
export function createHeldReader(endpoint: BrokerEndpoint, limits: HeldLimits = heldLimits): HeldReader {
  const key = unackedKey(endpoint);
  /** Tables of exchanges by key. */
  const tables = new Map<string, readonly Binding[]>();
  let scriptRefused = false;

  const script = (cursor: string): Command => [
    'eval',
    heldScript,
    1,
    key,
    cursor,
    limits.chunkEntries,
    limits.chunkBytes,
    limits.maxEntries,
  ];

  const countByScript = async (first: unknown, send: Send): Promise<Counts | string> => {
    const counts: Counts = new Map();
    for (let page = first; ;) {
      if (!Array.isArray(page)) return `the count of ${key} gave no list`;
      const [cursor, size, strange, ...rows] = page as [string, number, number, ...unknown[]];
      if (size > limits.maxEntries) return tooMany(key, size, limits.maxEntries);
      if (strange > 0) return notMessages(key, strange);
      for (let i = 0; i + 2 < rows.length; i += 3) {
        const route = decodeRoute(String(rows[i]), String(rows[i + 1]));
        if (route === undefined) return notMessages(key, 1);
        add(counts, route, Number(rows[i + 2]));
      }
      if (cursor === '0') return counts;
      const [next] = await send([script(cursor)]);
      if (next?.kind !== 'ok') return unreadable(key, next?.error);
      page = next.value;
    }
  };

  const countByScan = async (size: number, send: Send): Promise<Counts | string> => {
    if (size > limits.maxScannedEntries) return tooMany(key, size, limits.maxScannedEntries);
    const counts: Counts = new Map();
    const seen = new Set<string>();
    let cursor = '0';
    do {
      const [reply] = await send([['hscan', key, cursor, 'COUNT', 100]]);
      if (reply?.kind !== 'ok') return unreadable(key, reply?.error);
      const [next, page] = reply.value as [string, string[]];
      for (let i = 0; i + 1 < page.length; i += 2) {
        const tag = page[i] ?? '';
        if (seen.has(tag)) continue;
        seen.add(tag);
        const route = parseTail(page[i + 1] ?? '');
        if (route === undefined) return notMessages(key, 1);
        add(counts, route, 1);
      }
      if (seen.size > limits.maxScannedEntries) return tooMany(key, seen.size, limits.maxScannedEntries);
      cursor = next;
    } while (cursor !== '0');
    return counts;
  };

  /** Fetches the tables of exchanges that are not known yet, in one round trip. Gives what prevents it. */
  const learnBindings = async (counts: Counts, send: Send): Promise<string | undefined> => {
    const missing = new Set<string>();
    for (const { route } of counts.values()) {
      const table = bindingKey(endpoint, route.exchange);
      if (route.exchange !== '' && !tables.has(table)) missing.add(table);
    }
    const keys = [...missing];
    const replies = await send(keys.map((table): Command => ['smembers', table]));
    for (const [index, table] of keys.entries()) {
      const reply = replies[index];
      if (reply?.kind !== 'ok') return unreadable(table, reply?.error);
      tables.set(table, parseBindings(reply.value as string[]));
    }
    return undefined;
  };

  const count = async (reply: Reply, send: Send): Promise<Counts | string> => {
    if (!scriptRefused) {
      if (reply.kind === 'ok') return countByScript(reply.value, send);
      if (reply.error.message.includes('WRONGTYPE')) return wrongType(key);
      scriptRefused = true;
      [reply] = (await send([['hlen', key]])) as [Reply];
    }
    if (reply.kind === 'error') return unreadable(key, reply.error);
    return countByScan(Number(reply.value), send);
  };

  return {
    begin: () => (scriptRefused ? ['hlen', key] : script('0')),
    async finish(reply, send) {
      const counts = await count(reply, send);
      if (typeof counts === 'string') return { kind: 'unknown', why: counts };
      const problem = await learnBindings(counts, send);
      if (problem !== undefined) return { kind: 'unknown', why: problem };
      const byQueue = new Map<string, number>();
      for (const { route, count: messages } of counts.values()) {
        const table = tables.get(bindingKey(endpoint, route.exchange)) ?? [];
        for (const queue of resolveQueues(route, table)) byQueue.set(queue, (byQueue.get(queue) ?? 0) + messages);
      }
      return { kind: 'ok', byQueue };
    },
    forgetBindings(table) {
      if (table !== undefined) return tables.delete(table);
      const had = tables.size > 0;
      tables.clear();
      return had;
    },
  };
}

function add(counts: Counts, route: Route, messages: number): void {
  const id = JSON.stringify([route.exchange, route.routingKey]);
  const entry = counts.get(id);
  if (entry === undefined) counts.set(id, { route, count: messages });
  else entry.count += messages;
}

function tooMany(key: string, size: number, most: number): string {
  return `${key} has ${String(size)} unacknowledged messages and at most ${String(most)} are counted; lower the prefetch of the workers`;
}

function notMessages(key: string, entries: number): string {
  return `${key} has ${String(entries)} entries that kombu did not write, so their queue cannot be told; delete them`;
}

function wrongType(key: string): string {
  return `the key ${key} is not a hash, so it is not kombu's; delete or rename it`;
}

function unreadable(key: string, error: Error | undefined): string {
  const text = error?.message ?? 'no answer';
  if (text.includes('WRONGTYPE')) return wrongType(key);
  if (text.startsWith('NOPERM')) {
    return `the broker's ACL does not let the user read ${key}; allow ~${key} and +eval (or +hlen +hscan) and +smembers`;
  }
  return `${key} cannot be read: ${text.slice(0, 120)}`;
}
