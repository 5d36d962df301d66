/** Sends signatures and canvases for a client. */
import type { Command } from '../../operator/broker/connection.ts';
import type { BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { BrokerError, replyFailure } from '../../operator/broker/failures.ts';
import type { Clock } from '../../operator/runtime/clock.ts';
import { apply, emptyPlan, type Sender as Author } from '../canvas/apply.ts';
import type { Promised } from '../canvas/draft.ts';
import { ProtocolError } from '../protocol/errors.ts';
import type { Signature } from '../protocol/signature.ts';
import { createRedisConnection, isForAPerson } from '../results/redisConnection.ts';
import type { Sender } from './sender.ts';

/** What sending canvases needs. */
export interface CanvasSenderOptions {
  readonly sender: Sender;
  /** Ids, routes and keys. */
  readonly author: () => Author;
  /** Undefined: no chord can be sent. */
  readonly backend: BrokerEndpoint | undefined;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly giveUpMs: number;
}

/** Sends canvases. */
export interface CanvasSender {
  /**
   * Sends one; resolves when the broker has all messages that are sent at once. Rejects with ProtocolError for what cannot be
   * sent, with TypeError for a chord without a backend, and with BrokerError when it was not accepted in time.
   */
  send(signature: Signature, options: Readonly<Record<string, unknown>>): Promise<Promised>;
  close(): void;
}

const backoffMs = { first: 20, most: 1_000 };

/** Builds it; the backend is connected to with the first chord. */
export function createCanvasSender(options: CanvasSenderOptions): CanvasSender {
  const { sender, author, backend, clock, timeoutMs, giveUpMs } = options;
  const connection =
    backend === undefined
      ? undefined
      : createRedisConnection({ endpoint: backend, clock, timeoutMs, name: 'muster-client' });

  /** What Redis has to know of chords, before their first part can return. A second time does no harm. */
  const prepare = async (commands: readonly Command[]): Promise<void> => {
    if (connection === undefined || backend === undefined) {
      throw new TypeError('a chord needs a result backend; give createClient a backend URL');
    }
    const deadlineMs = clock.monotonicMs() + giveUpMs;
    for (let waitMs = backoffMs.first; ; waitMs = Math.min(backoffMs.most, waitMs * 2)) {
      let why: unknown;
      try {
        const replies = await connection.send(commands);
        const refused = replies.find((reply) => reply.kind === 'error');
        if (refused === undefined) return;
        why = replyFailure(backend, 'SET', refused.error);
      } catch (err) {
        why = err;
      }
      if (!(why instanceof BrokerError) || isForAPerson(why) || clock.monotonicMs() >= deadlineMs) throw why;
      await clock.sleep(waitMs);
    }
  };

  return {
    async send(signature, given) {
      const plan = emptyPlan();
      const promised = apply(signature, { options: given }, author(), plan);
      if (plan.messages.length === 0) throw new ProtocolError('invalid', 'there is no task in what is to be sent');
      if (plan.commands.length > 0) await prepare(plan.commands);
      await Promise.all(plan.messages.map(({ list, raw }) => sender.send(list, raw)));
      return promised;
    },
    close: () => connection?.close(),
  };
}
