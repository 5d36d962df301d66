import { buildMessage, type OutgoingTask } from '../../../../worker/protocol/message.ts';

/** A sound message. */
export const plain: OutgoingTask = {
  task: 'images.resize',
  id: 'an-id',
  tag: 'a-tag',
  args: [1],
  routingKey: 'images',
};

/** What of a message is changed. */
export interface Change {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly envelope?: Readonly<Record<string, unknown>>;
  /** JSON of the body. */
  readonly body?: string;
}

/** A sound message, changed. A value of undefined leaves the field out. */
export function changed({ headers, properties, envelope, body }: Change, outgoing: OutgoingTask = plain): string {
  const message = JSON.parse(buildMessage(outgoing).raw) as Record<string, Record<string, unknown>>;
  return JSON.stringify({
    ...message,
    headers: { ...message['headers'], ...headers },
    properties: { ...message['properties'], ...properties },
    ...(body === undefined ? {} : { body: Buffer.from(body).toString('base64') }),
    ...envelope,
  });
}
