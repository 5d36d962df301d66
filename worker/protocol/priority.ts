/**
 * Priorities on Redis: 0 is served first and 9 last (the opposite of RabbitMQ), in steps that each have a list of their own.
 * Source: kombu/transport/redis.py (`priority`, `_q_for_pri`), kombu/transport/virtual/base.py (`_get_message_priority`).
 */

/** Steps that kombu uses unless the transport option `priority_steps` says otherwise. */
export const defaultPrioritySteps: readonly number[] = [0, 3, 6, 9];

/** The priority of a message, 0 to 9: a number or a text with one, cut to that range; anything else is 0, as kombu takes it. */
export function readPriority(value: unknown): number {
  const number = typeof value === 'string' && /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : value;
  if (typeof number === 'bigint') return number < 0n ? 0 : 9;
  if (typeof number !== 'number' || !Number.isFinite(number)) return 0;
  return Math.max(0, Math.min(9, Math.trunc(number)));
}

/** The step whose list a priority goes to: the last one that is not above it. `steps` ascend and are not empty. */
export function priorityStep(priority: number, steps: readonly number[] = defaultPrioritySteps): number {
  // Python's steps[bisect(steps, n) - 1]: below the first step it is the last one.
  let found = steps.at(-1) ?? 0;
  for (const step of steps) {
    if (step > priority) break;
    found = step;
  }
  return found;
}
