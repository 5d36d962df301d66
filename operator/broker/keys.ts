/**
 * The names that Celery's transport (kombu) gives to things in Redis. Where an app sets `global_keyprefix`, kombu puts
 * it before every key that a command names and before pub/sub channels alike, so the prefix is applied here and nowhere
 * else. Read from kombu 5.3 to 5.7, kombu/transport/redis.py: GlobalKeyPrefixMixin, PrefixedRedisPubSub.
 */
import type { BrokerEndpoint } from './endpoint.ts';

/** What kombu puts between a queue and a priority step, and between the parts of a binding. */
export const separator = '\x06\x16';

/** Where Redis announces keys that a tracking connection has read and that changed since. */
export const invalidateChannel = '__redis__:invalidate';

type Named = Pick<BrokerEndpoint, 'keyPrefix' | 'prioritySteps'> & { readonly redis: { readonly db: number } };

/**
 * The lists of one queue, one for each priority step. The bare name is always among them: messages without priority
 * land there whatever steps the app has.
 */
export function queueKeys(endpoint: Named, queue: string): string[] {
  const bare = `${endpoint.keyPrefix ?? ''}${queue}`;
  return [
    bare,
    ...endpoint.prioritySteps.filter((step) => step !== 0).map((step) => `${bare}${separator}${String(step)}`),
  ];
}

/** The hash of messages that a worker has taken and not acknowledged, of all queues of the database. */
export function unackedKey(endpoint: Named): string {
  return `${endpoint.keyPrefix ?? ''}unacked`;
}

/** The set that says which queues an exchange feeds. */
export function bindingKey(endpoint: Named, exchange: string): string {
  return `${endpoint.keyPrefix ?? ''}_kombu.binding.${exchange}`;
}

/** The pattern of the channels on which workers of this database publish their heartbeats. */
export function heartbeatPattern(endpoint: Named): string {
  return `${escapeGlob(`${endpoint.keyPrefix ?? ''}/${String(endpoint.redis.db)}.celeryev/worker.`)}*`;
}

/** A key prefix may hold characters that a pattern gives a meaning to. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}
