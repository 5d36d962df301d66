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
  chunkEntries: 250,
  chunkBytes: 500_000,
};

/**
 * Counts held messages over one session, in steps of one round trip, so that a long count never holds up the reading of
 * a queue: whoever drives it may send other commands along with each step.
 *
 *   begin ─► chunk ─► chunk … ─► tables of exchanges not known yet ─► done
 */
export interface HeldCounter {
  /** Starts over. */
  begin(): void;
  /** The commands of the next step; empty when no count is under way. */
  commands(): readonly Command[];
  /** Takes the answers to those commands; gives the count when it is complete. */
  take(replies: readonly Reply[]): HeldReading | undefined;
  /** Forgets what is known of bindings: all, or those under one key. Gives whether something was forgotten. */
  forgetBindings(key?: string): boolean;
}

/** What the next step asks for. */
type Step =
  | { readonly kind: 'script'; readonly cursor: string }
  | { readonly kind: 'size' }
  | { readonly kind: 'scan'; readonly cursor: string }
  | { readonly kind: 'tables'; readonly keys: readonly string[] };

/** Builds the counter of one session. */
export function createHeldCounter(endpoint: BrokerEndpoint, limits: HeldLimits = heldLimits): HeldCounter {
  const key = unackedKey(endpoint);
  /** Bindings of exchanges, by key. */
  const tables = new Map<string, readonly Binding[]>();
  let isScriptRefused = false;
  let step: Step | undefined;
  let routes = new Map<string, { route: Route; messages: number }>();
  /** Tags seen by the scan from here, which may meet an entry twice. */
  let seen = new Set<string>();

  const count = (route: Route, messages: number): void => {
    const id = JSON.stringify([route.exchange, route.routingKey]);
    const entry = routes.get(id);
    if (entry === undefined) routes.set(id, { route, messages });
    else entry.messages += messages;
  };

  const takeChunk = (page: unknown): string | undefined => {
    const [cursor, size, strange, ...rows] = page as [string, number, number, ...unknown[]];
    if (size > limits.maxEntries) return tooMany(key, size, limits.maxEntries);
    if (strange > 0) return notMessages(key, strange);
    for (let i = 0; i + 2 < rows.length; i += 3) {
      const route = decodeRoute(String(rows[i]), String(rows[i + 1]));
      if (route === undefined) return notMessages(key, 1);
      count(route, Number(rows[i + 2]));
    }
    step = cursor === '0' ? missingTables() : { kind: 'script', cursor };
    return undefined;
  };

  const takePage = (reply: unknown): string | undefined => {
    const [cursor, page] = reply as [string, string[]];
    for (let i = 0; i + 1 < page.length; i += 2) {
      const tag = page[i] ?? '';
      if (seen.has(tag)) continue;
      seen.add(tag);
      const route = parseTail(page[i + 1] ?? '');
      if (route === undefined) return notMessages(key, 1);
      count(route, 1);
    }
    if (seen.size > limits.maxScannedEntries) return tooMany(key, seen.size, limits.maxScannedEntries);
    step = cursor === '0' ? missingTables() : { kind: 'scan', cursor };
    return undefined;
  };

  const takeSize = (size: number): string | undefined => {
    if (size > limits.maxScannedEntries) return tooMany(key, size, limits.maxScannedEntries);
    step = size === 0 ? undefined : { kind: 'scan', cursor: '0' };
    return undefined;
  };

  const missingTables = (): Step | undefined => {
    const missing = new Set<string>();
    for (const { route } of routes.values()) {
      const table = bindingKey(endpoint, route.exchange);
      if (route.exchange !== '' && !tables.has(table)) missing.add(table);
    }
    return missing.size === 0 ? undefined : { kind: 'tables', keys: [...missing] };
  };

  const takeTables = (keys: readonly string[], replies: readonly Reply[]): string | undefined => {
    for (const [index, table] of keys.entries()) {
      const reply = replies[index];
      if (reply?.kind !== 'ok') return unreadable(table, reply?.error);
      tables.set(table, parseBindings(reply.value as string[]));
    }
    step = undefined;
    return undefined;
  };

  /** Takes one step's answers; gives the sentence that says why the count cannot go on. */
  const advance = (current: Step, replies: readonly Reply[]): string | undefined => {
    if (current.kind === 'tables') return takeTables(current.keys, replies);
    const [reply] = replies;
    if (reply?.kind !== 'ok') {
      const isRefusal = current.kind === 'script' && !(reply?.error.message.includes('WRONGTYPE') ?? false);
      if (!isRefusal || isScriptRefused) return unreadable(key, reply?.error);
      isScriptRefused = true;
      step = { kind: 'size' };
      return undefined;
    }
    if (current.kind === 'script') return takeChunk(reply.value);
    return current.kind === 'size' ? takeSize(Number(reply.value)) : takePage(reply.value);
  };

  const isDone = (): boolean => step === undefined;

  const byQueue = (): ReadonlyMap<string, number> => {
    const held = new Map<string, number>();
    for (const { route, messages } of routes.values()) {
      const table = tables.get(bindingKey(endpoint, route.exchange)) ?? [];
      for (const queue of resolveQueues(route, table)) held.set(queue, (held.get(queue) ?? 0) + messages);
    }
    return held;
  };

  return {
    begin() {
      routes = new Map();
      seen = new Set();
      step = isScriptRefused ? { kind: 'size' } : { kind: 'script', cursor: '0' };
    },
    commands() {
      if (step === undefined) return [];
      if (step.kind === 'size') return [['hlen', key]];
      if (step.kind === 'scan') return [['hscan', key, step.cursor, 'COUNT', 100]];
      if (step.kind === 'tables') return step.keys.map((table): Command => ['smembers', table]);
      const { chunkEntries, chunkBytes, maxEntries } = limits;
      return [['eval', heldScript, 1, key, step.cursor, chunkEntries, chunkBytes, maxEntries]];
    },
    take(replies) {
      if (step === undefined) return undefined;
      const problem = advance(step, replies);
      if (problem !== undefined) {
        step = undefined;
        return { kind: 'unknown', why: problem };
      }
      return isDone() ? { kind: 'ok', byQueue: byQueue() } : undefined;
    },
    forgetBindings(table) {
      if (table !== undefined) return tables.delete(table);
      const had = tables.size > 0;
      tables.clear();
      return had;
    },
  };
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
    return `the broker's ACL does not let the user read ${key}; allow ~${key}, +hlen, +hscan and +smembers, and +eval to count inside Redis`;
  }
  return `${key} cannot be read: ${text.slice(0, 120)}`;
}
