/**
 * Messages that go back to a queue. Source: kombu/transport/virtual/base.py (`_do_restore_message`) and redis.py
 * (`restore_by_tag`): the message gets a mark that it was delivered before, in a header and in its delivery info.
 */
import { decodeJson, encodeJson } from '../protocol/kombuJson.ts';
import { isRecord } from '../protocol/signature.ts';

/** A value of the hash of unacknowledged messages. */
export interface Unacked {
  /** The message as it lay in its list. */
  readonly raw: string;
  readonly exchange: string;
  readonly routingKey: string;
}

const text = String.raw`"(?:[^"\\]|\\.)*"`;
const tail = new RegExp(String.raw`^\[([^]*?)\s*,\s*(${text}|null)\s*,\s*(${text}|null)\s*\]$`);

/** Reads `[message, exchange, routing key]` without reading the message; undefined for what no worker wrote. */
export function splitUnacked(value: string): Unacked | undefined {
  // The message may be large and full of quotes: the two names are looked for from the end.
  const start = Math.max(0, value.length - 2048);
  const match = tail.exec(start === 0 ? value : `[${value.slice(start)}`);
  const [, head, exchange, routingKey] = match ?? [];
  if (head === undefined || exchange === undefined || routingKey === undefined) return undefined;
  const raw = start === 0 ? head : value.slice(1, start) + head;
  return {
    // What was no JSON was kept as a JSON string.
    raw: raw.startsWith('"') ? nameOf(raw) : raw,
    exchange: nameOf(exchange),
    routingKey: nameOf(routingKey),
  };
}

/** The message with the mark that it was delivered before; as it is when it cannot be read. */
export function markRedelivered(raw: string): string {
  const decoded = decodeJson(raw);
  if (decoded.kind !== 'ok' || !isRecord(decoded.value)) return raw;
  const message = decoded.value;
  const headers = isRecord(message['headers']) ? message['headers'] : {};
  const properties = isRecord(message['properties']) ? message['properties'] : {};
  const info = isRecord(properties['delivery_info']) ? properties['delivery_info'] : {};
  return encodeJson({
    ...message,
    headers: { ...headers, redelivered: true },
    properties: { ...properties, delivery_info: { ...info, redelivered: true } },
  });
}

function nameOf(json: string): string {
  const value: unknown = JSON.parse(json);
  return typeof value === 'string' ? value : '';
}
