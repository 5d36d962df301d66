/** The hash by which an unchanged intent is known, so that it is not written again and resource versions stay still. */
import { createHash } from 'node:crypto';

/** 16 hexadecimal digits over the body as it would be sent. Builders give keys in a fixed order, so equal intents agree. */
export function intentHash(body: unknown): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 16);
}
