/** Commands about the queues that a worker consumes. Source: celery/worker/{control,consumer/consumer}.py, kombu/entity.py. */
import { bindingMember } from '../../protocol/keys.ts';
import { nok, ok, textArg, type Commands } from './command.ts';
import { queuesNow, type ControlContext } from './context.ts';

/** `add_consumer`, `cancel_consumer`, `active_queues`. */
export function queueCommands(context: ControlContext): Commands {
  const { consumer, keys, heart, log } = context;
  return {
    add_consumer(args) {
      const queue = textArg(args, 'queue');
      const exchange = optionalText(args['exchange']) ?? queue;
      const routingKey = optionalText(args['routing_key']) ?? queue;
      const type = optionalText(args['exchange_type']) ?? 'direct';
      if (type !== 'direct') return nok(`exchange type ${type} is not supported, only direct`);
      // As Celery declares it, so that messages to the exchange find the queue.
      const member = bindingMember({ routingKey, pattern: '', queue });
      consumer().send(['sadd', keys.binding(exchange), member]);
      consumer().send(['sadd', keys.bindingPermanent(exchange), member]);
      consumer().addQueue(queue);
      log.info('consuming from one more queue', { queue });
      void heart.beat();
      return ok(`add consumer ${queue}`);
    },
    cancel_consumer(args) {
      const queue = textArg(args, 'queue');
      consumer().cancelQueue(queue);
      log.info('no longer consuming from a queue', { queue });
      void heart.beat();
      return ok(`no longer consuming from ${queue}`);
    },
    active_queues: () => queuesNow(context).map(describeQueue),
  };
}

function optionalText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A queue as kombu shows one that Celery made by its name. */
function describeQueue(name: string): Readonly<Record<string, unknown>> {
  return {
    name,
    exchange: {
      ...{ name, type: 'direct', arguments: null, durable: true, passive: false, auto_delete: false },
      ...{ delivery_mode: null, no_declare: false },
    },
    routing_key: name,
    ...{ queue_arguments: null, binding_arguments: null, consumer_arguments: null },
    ...{ durable: true, exclusive: false, auto_delete: false, no_ack: false, alias: null, bindings: [] },
    ...{ no_declare: null, expires: null, message_ttl: null, max_length: null, max_length_bytes: null },
    max_priority: null,
  };
}
