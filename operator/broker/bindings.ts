/**
 * Which queues a message belongs to, from the exchange and routing key that kombu stored with it. Pure. The default
 * exchange ("") names the queue itself; any other is looked up in the set of its bindings, as kombu does
 * (kombu/transport/virtual/exchange.py).
 */
import { separator } from './keys.ts';
import type { Route } from './tail.ts';

/** One line of an exchange's table. */
export interface Binding {
  readonly routingKey: string;
  /** Topic exchanges only: kombu stores the routing key as a regular expression here. */
  readonly pattern: string;
  readonly queue: string;
}

/** Reads the members of `_kombu.binding.<exchange>`; what is not a binding is left out. */
export function parseBindings(members: readonly string[]): Binding[] {
  return members.flatMap((member) => {
    const [routingKey, pattern, queue] = member.split(separator);
    return routingKey === undefined || pattern === undefined || queue === undefined
      ? []
      : [{ routingKey, pattern, queue }];
  });
}

/**
 * The queues that a message may have come from. A topic exchange may put copies into several and the copies look the
 * same, so each is named: to count a task twice only delays scale-in, to miss it would end it.
 * @param bindings of the route's exchange; not looked at for the default exchange
 */
export function resolveQueues(route: Route, bindings: readonly Binding[]): readonly string[] {
  if (route.exchange === '') return [route.routingKey];
  const queues = new Set(
    bindings
      .filter(({ routingKey, pattern }) => routingKey === route.routingKey || matches(pattern, route.routingKey))
      .map(({ queue }) => queue),
  );
  // A binding that was removed while the message is held: Celery's queues are named as their routing keys.
  return queues.size === 0 ? [route.routingKey] : [...queues];
}

function matches(pattern: string, routingKey: string): boolean {
  if (pattern === '') return false;
  try {
    return new RegExp(pattern).test(routingKey);
  } catch {
    return false;
  }
}
