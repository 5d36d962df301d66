/**
 * Reads from the end of an entry of `unacked` which exchange and routing key its message came by: kombu writes
 * `[message, exchange, routing_key]` as JSON. Pure. The message itself is never decoded: it is large, private, and may
 * be in a format that only the app knows.
 */

/** How a message was addressed. */
export interface Route {
  readonly exchange: string;
  readonly routingKey: string;
}

/** How much of an entry's end can hold both names. */
const tailLength = 1024;
const twoLiterals = /,\s*"((?:[^"\\]|\\.)*)"\s*,\s*"((?:[^"\\]|\\.)*)"\s*\]\s*$/;

/** The route of an entry, or undefined when it does not end as kombu's entries do. */
export function parseTail(entry: string): Route | undefined {
  const tail = entry.slice(-tailLength);
  // The expression anchors at the end but a search starts at the front: begin at the last comma pairs only.
  const match = twoLiterals.exec(tail);
  if (match === null) return undefined;
  return decodeRoute(match[1] ?? '', match[2] ?? '');
}

/** Decodes two JSON literals given without their quotes. */
export function decodeRoute(exchange: string, routingKey: string): Route | undefined {
  try {
    return {
      exchange: JSON.parse(`"${exchange}"`) as string,
      routingKey: JSON.parse(`"${routingKey}"`) as string,
    };
  } catch {
    return undefined;
  }
}
