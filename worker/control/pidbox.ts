/**
 * Remote control: requests come by broadcast, each is done in a turn of its own between the turns of tasks, and answered
 * to a list that nobody may read any more, so every reply has a TTL. Source: kombu/pidbox.py, celery/worker/pidbox.py.
 */
import { randomUUID } from 'node:crypto';
import type { Command as RedisCommand, Reply } from '../../operator/broker/connection.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import type { Logger } from '../../operator/runtime/log.ts';
import {
  buildControlReply,
  isForMe,
  parseControlRequest,
  type ControlRequest,
  type ReplyTo,
} from '../protocol/control.ts';
import { parseBindingMember, type BrokerKeys } from '../protocol/keys.ts';
import { CommandError, noReply, type Commands } from './commands/command.ts';
import type { Lamport } from './lamport.ts';

/** Hears requests. */
export interface Pidbox {
  /** A message of the control channel. Never throws. */
  receive(raw: string): void;
  /** Resolves when everything received so far was answered. */
  settled(): Promise<void>;
}

/** What the pidbox needs. */
export interface PidboxDeps {
  readonly hostname: string;
  readonly keys: BrokerKeys;
  readonly lamport: Lamport;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly log: Logger;
  /** Sends to Redis; `undefined` when it cannot be reached. */
  readonly send: (commands: readonly RedisCommand[]) => Promise<readonly Reply[] | undefined>;
}

/** Requests beyond this many that wait are dropped: somebody floods the channel, and nobody waits for the answers. */
const mostWaiting = 1_000;
/** How long a reply is kept for whoever asked, beyond the time for which the request says that it waits. */
const keepSeconds = { least: 60, most: 3_600 };

/** Builds the pidbox. */
export function createPidbox(deps: PidboxDeps): Pidbox {
  const { hostname, lamport, clock, log } = deps;
  const waiting: ControlRequest[] = [];
  let working: Promise<void> | undefined;

  const answer = async ({ method, arguments: args }: ControlRequest): Promise<unknown> => {
    const command = Object.hasOwn(deps.commands, method) ? deps.commands[method] : undefined;
    try {
      if (command === undefined) throw new CommandError('KeyError', method);
      return (await command(args)) ?? null;
    } catch (err) {
      if (err instanceof CommandError) {
        log.warn('a remote command was refused', { command: method.slice(0, 100), why: err.message });
        return { error: err.repr() };
      }
      log.error('a remote command failed', { command: method, err });
      return { error: new CommandError('ValueError', err instanceof Error ? err.message : String(err)).repr() };
    }
  };

  /** The lists that a reply goes to; none when the client is gone. */
  const listsOf = async ({ exchange, routingKey }: ReplyTo): Promise<string[]> => {
    if (exchange === '') return [deps.keys.queue(routingKey)];
    const [reply] = (await deps.send([['smembers', deps.keys.binding(exchange)]])) ?? [];
    const members = reply?.kind === 'ok' && Array.isArray(reply.value) ? reply.value.map(String) : [];
    return members.flatMap((member) => {
      const bound = parseBindingMember(member);
      return bound?.routingKey === routingKey ? [deps.keys.queue(bound.queue)] : [];
    });
  };

  const handle = async (request: ControlRequest): Promise<void> => {
    const reply = await answer(request);
    const { replyTo, ticket, expiresMs } = request;
    if (replyTo === undefined || reply === noReply) return;
    const lists = await listsOf(replyTo);
    const waitSeconds = expiresMs === undefined ? 0 : Math.ceil((expiresMs - clock.now()) / 1000) + 10;
    const ttlSeconds = Math.min(keepSeconds.most, Math.max(keepSeconds.least, waitSeconds));
    const stamp = { replyTo, clock: lamport.forward(), tag: randomUUID() };
    let raw: string;
    try {
      raw = buildControlReply({ hostname, reply, ticket }, stamp);
    } catch (err) {
      log.error('the reply to a remote command cannot be written', { command: request.method, err });
      const error = new CommandError('ValueError', 'the reply cannot be written as JSON').repr();
      raw = buildControlReply({ hostname, reply: { error }, ticket }, stamp);
    }
    const sent = lists.flatMap((list): RedisCommand[] => [
      ['lpush', list, raw],
      ['expire', list, ttlSeconds],
    ]);
    if (sent.length > 0) await deps.send(sent);
  };

  const work = async (): Promise<void> => {
    for (let request = waiting.shift(); request !== undefined; request = waiting.shift()) {
      await new Promise((resolve) => setImmediate(resolve));
      await handle(request).catch((err: unknown) => log.error('a remote command was not answered', { err }));
    }
    working = undefined;
  };

  return {
    receive(raw) {
      lamport.forward();
      const parsed = parseControlRequest(raw);
      if (parsed.kind === 'malformed') {
        log.warn('a remote command cannot be read', { why: parsed.why });
        return;
      }
      lamport.adjust(parsed.value.clock);
      if (!isForMe(hostname, parsed.value)) return;
      if (waiting.length >= mostWaiting) {
        log.warn('remote commands come faster than they are done; one was dropped');
        return;
      }
      waiting.push(parsed.value);
      working ??= work();
    },
    settled: async () => working,
  };
}
