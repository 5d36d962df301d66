/**
 * Counts the parts of chords in Redis, as Celery's Redis backend does, so that a chord may have parts on workers of both.
 * Over a connection of its own, for the answer decides what is sent; it is opened with the first part.
 * Source: celery/backends/redis.py (`on_chord_part_return`).
 *
 *   part: [store its result, count it] ──► not all ─► done
 *                                      └─► all of them ─► body: [send it, forget the chord]
 */
import type { Command, Reply } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import type { ResultKeys } from '../protocol/keys.ts';
import { isWorthRetrying } from '../transport/exchange.ts';
import { loadScripts, scripts } from '../transport/script.ts';
import { createRedisConnection, type RedisConnection } from './redisConnection.ts';

/** A part that has returned. */
export interface ChordPart {
  readonly groupId: string;
  readonly taskId: string;
  /** Undefined for a part without a place: it comes last. */
  readonly groupIndex: number | undefined;
  /** JSON of `[1, id, state, result]`. */
  readonly encoded: string;
}

/** All parts are there, and the body is this worker's to send. */
export interface ChordEnd {
  readonly groupId: string;
  readonly token: string;
  /** JSON of each part, in order. */
  readonly values: readonly string[];
  /** JSON of the header's form, if it is not a plain list. */
  readonly savedGroup: string | undefined;
}

/** Counts parts. Both calls are tried until Redis has taken them, or the worker ends. */
export interface Chords {
  /** Runs `before`, then counts. Gives the end if this was the last part. */
  returned(before: readonly Command[], part: ChordPart): Promise<ChordEnd | undefined>;
  /** Runs `before`, then sends messages and forgets the chord, in one step. */
  finish(end: ChordEnd, before: readonly Command[], messages: readonly { list: string; raw: string }[]): Promise<void>;
  /** Reads results that are stored already; undefined for one that is not. */
  read(taskIds: readonly string[]): Promise<readonly (string | undefined)[]>;
  close(): void;
}

/** What counting needs. */
export interface ChordsOptions {
  /** Of the result backend. */
  readonly endpoint: BrokerEndpoint;
  /** Only if it is another Redis than the backend: messages go there. */
  readonly broker?: BrokerEndpoint;
  readonly keys: ResultKeys;
  readonly clock: Clock;
  readonly log: Logger;
  /** The most that connecting, and each round trip, may take. */
  readonly timeoutMs: number;
  /** How long Redis keeps what it knows of a chord; 0: for ever. */
  readonly keepSeconds: number;
  /** Gives a new uuid4. */
  readonly newId: () => string;
}

/** How long (s) nobody else may send a body, and how often (ms) a part that runs again asks whether it may. */
const claimSeconds = 10;
const claimedMs = 500;
const backoffMs = { first: 100, most: 5_000 };

/** Builds it; nothing is opened yet. */
export function createChords(options: ChordsOptions): Chords {
  const { keys, clock, log, keepSeconds, timeoutMs } = options;
  const connection = createRedisConnection({ endpoint: options.endpoint, clock, timeoutMs, name: 'muster-chords' });
  const broker =
    options.broker === undefined
      ? undefined
      : createRedisConnection({ endpoint: options.broker, clock, timeoutMs, name: 'muster-chords' });
  let isClosed = false;

  const send = async (over: RedisConnection, commands: readonly Command[]): Promise<readonly Reply[]> => {
    for (let waitMs = backoffMs.first; ; waitMs = Math.min(backoffMs.most, waitMs * 2)) {
      let why: Error;
      try {
        const replies = await over.send(commands);
        const refused = replies.find((reply) => reply.kind === 'error');
        if (refused === undefined) return replies;
        if (!isWorthRetrying(refused)) throw new Error(refused.error.message);
        why = refused.error;
      } catch (err) {
        if (!(err instanceof BrokerError)) throw err;
        why = err;
      }
      if (isClosed) throw why;
      if (why.message.includes('NOSCRIPT')) await over.send(loadScripts).catch(() => undefined);
      else {
        log.warn('a chord cannot be counted, trying again', { why: why.message });
        await clock.sleep(waitMs);
      }
    }
  };
  const value = (reply: Reply | undefined): unknown => (reply?.kind === 'ok' ? reply.value : undefined);
  /** All keys of a chord but the saved form of its header, which clients read. */
  const keysOf = (groupId: string): string[] => [
    ...[keys.chordClaim(groupId), keys.chordParts(groupId), keys.chordExtra(groupId)],
    ...[keys.chordSize(groupId), keys.chordReturned(groupId)],
  ];

  return {
    async returned(before, { groupId, taskId, groupIndex, encoded }) {
      const token = options.newId();
      const names = [
        ...[keys.chordParts(groupId), keys.chordExtra(groupId), keys.chordSize(groupId)],
        ...[keys.chordReturned(groupId), keys.group(groupId), keys.chordClaim(groupId)],
      ];
      const count: Command = [
        ...(['evalsha', scripts.chordPart.sha, names.length, ...names] as const),
        ...[taskId, encoded, groupIndex ?? '+inf', keepSeconds, token, claimSeconds],
      ];
      let replies = await send(connection, [...before, count]);
      // Only for a part that runs again. To be done with it now would lose the body if whoever has the claim is dead.
      while (isClaimed(value(replies.at(-1)))) {
        await clock.sleep(claimedMs);
        if (isClosed) throw new Error(`the chord ${groupId} is another worker's, and did not end before this one did`);
        replies = await send(connection, [count]);
      }
      const [isLast, savedGroup = '', ...values] = value(replies.at(-1)) as (string | number)[];
      if (isLast !== 1) return undefined;
      return {
        ...{ groupId, token, values: values.map(String) },
        savedGroup: savedGroup === '' ? undefined : String(savedGroup),
      };
    },
    async finish({ groupId, token }, before, messages) {
      const chord = keysOf(groupId);
      if (before.length > 0) await send(connection, before);
      const evalWith = (sent: readonly { list: string; raw: string }[]): Command => [
        ...(['evalsha', scripts.chordBody.sha, chord.length + sent.length, ...chord] as const),
        ...sent.map(({ list }) => list),
        ...[token, chord.length, ...sent.map(({ raw }) => raw)],
      ];
      if (broker === undefined) {
        await send(connection, [evalWith(messages)]);
        return;
      }
      // Two servers share no step. A message that is sent twice is better than one that is not.
      if (messages.length > 0)
        await send(
          broker,
          messages.map(({ list, raw }) => ['lpush', list, raw]),
        );
      await send(connection, [evalWith([])]);
    },
    async read(taskIds) {
      if (taskIds.length === 0) return [];
      const [reply] = await send(connection, [['mget', ...taskIds.map((id) => keys.taskMeta(id))]]);
      return (value(reply) as (string | null)[]).map((each) => each ?? undefined);
    },
    close() {
      isClosed = true;
      connection.close();
      broker?.close();
    },
  };
}

function isClaimed(reply: unknown): boolean {
  return Array.isArray(reply) && reply[0] === 2;
}
