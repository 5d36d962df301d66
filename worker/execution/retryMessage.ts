/** The message that runs a task again: the same id, one more retry, a time before which it does not run. Pure. */
import { buildMessage, resendMessage, type TaskMessage } from '../protocol/message.ts';

/** The last time that a message can say: Python knows no year after 9999. */
const latestEtaMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Whether a message can say this time (Unix ms). A delay of NaN or 1e13 seconds gives one that no date can. */
export function canSayEta(etaMs: number): boolean {
  return etaMs >= 0 && etaMs <= latestEtaMs;
}

/**
 * Writes it. One of protocol 2 keeps its body byte for byte; one of protocol 1 becomes protocol 2, as Celery's retry does.
 * @param raw the message as it came
 * @param tag its new delivery tag
 * @param etaMs Unix ms, one that `canSayEta`
 */
export function buildRetryMessage(message: TaskMessage, raw: string, tag: string, etaMs: number): string {
  const retries = message.retries + 1;
  // As Celery: a task that nobody started becomes its own parent.
  const parentId = message.parentId ?? message.id;
  const eta = new Date(etaMs).toISOString();
  const resent = resendMessage(raw, { tag, headers: { retries, eta, parent_id: parentId, redelivered: undefined } });
  if (resent.kind === 'ok') return resent.value.raw;
  const { id, task, args, kwargs, embed, rootId, groupId, groupIndex, priority, ignoreResult, expiresMs } = message;
  return buildMessage({
    ...{ id, task, tag, args, kwargs, retries, eta, rootId, groupId, groupIndex, priority, ignoreResult },
    ...embed,
    expires: expiresMs,
    parentId,
    timeLimitSeconds: orUndefined(message.timeLimitSeconds),
    softTimeLimitSeconds: orUndefined(message.softTimeLimitSeconds),
    replyTo: message.replyTo,
    routingKey: message.routingKey,
    exchange: message.exchange,
    origin: message.origin,
  }).raw;
}

/** A limit of 0 is none. */
function orUndefined(seconds: number | undefined): number | undefined {
  return seconds === 0 ? undefined : seconds;
}
