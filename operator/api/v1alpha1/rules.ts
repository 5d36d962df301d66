/**
 * The rules that speak of `spec` as a whole: those that compare two parts, and those about a required part. The latter
 * cannot stand on the part itself, because it defaults to the empty one (see spec.ts) and the API server refuses a
 * definition whose default breaks a rule of the same node.
 */
import type { Rule } from './schema.ts';
import { nodeWorkerSettingsList } from './template.ts';

/** CEL rules on `spec`. */
export const specRules: readonly Rule[] = [
  {
    rule: 'has(self.broker.url) != has(self.broker.urlFrom)',
    fieldPath: '.broker',
    message:
      'broker needs exactly one of url and urlFrom; write urlFrom: {secretKeyRef: {name: …, key: …}} for a URL in a Secret, or url: redis://redis:6379/0',
  },
  {
    rule: 'size(self.queues) > 0',
    fieldPath: '.queues',
    message: 'queues is empty; name at least one queue for the pool to consume, as in queues: [{name: celery}]',
  },
  {
    rule: '[has(self.runtime.celery), has(self.runtime.node), has(self.runtime.custom)].filter(one, one).size() == 1',
    fieldPath: '.runtime',
    message:
      "runtime needs exactly one of celery, node and custom; write celery: {app: shop.celery:app}, node: {tasks: ./dist/tasks.js}, or custom: {} to run the container's own command",
  },
  {
    rule: "!has(self.runtime.celery) || self.runtime.celery.pool != 'solo' || self.concurrency <= 1",
    fieldPath: '.concurrency',
    message: 'the pool solo runs one task at a time; write concurrency: 1, or pool: prefork, threads or gevent',
  },
  {
    rule: '!has(self.prefetch.multiplier) || self.prefetch.multiplier * self.concurrency <= 65535',
    fieldPath: '.prefetch.multiplier',
    message:
      'multiplier × concurrency is more than 65535, which Celery takes as no limit; write a smaller multiplier, or policy: Unlimited',
  },
  {
    rule: 'self.scaling.minReplicas <= self.scaling.maxReplicas || self.scaling.maxReplicas < 1',
    fieldPath: '.scaling.minReplicas',
    message: 'scaling.minReplicas is larger than scaling.maxReplicas; raise maxReplicas or lower minReplicas',
  },
  {
    rule: `!has(self.runtime.celery) || self.template.spec.containers.all(container, !has(container.env) || container.env.all(variable, !(variable.name in ${nodeWorkerSettingsList})))`,
    fieldPath: '.template.spec.containers',
    message:
      'MUSTER_BACKEND, MUSTER_EVENTS and the like are settings of runtime.node; remove them from env of a Celery pool',
  },
  {
    rule: "self.template.spec.containers.exists(container, container.name == 'worker')",
    fieldPath: '.template.spec.containers',
    message: 'the template has no container named worker; give that name to the container that runs the tasks',
  },
  {
    rule: "self.template.spec.containers.all(container, container.name != 'worker' || (has(container.image) && container.image != ''))",
    fieldPath: '.template.spec.containers',
    message: 'the container worker has no image; write image: with the image that holds your tasks',
  },
  {
    rule: "(!has(self.runtime.celery) && !has(self.runtime.node)) || self.template.spec.containers.all(container, container.name != 'worker' || (!has(container.command) && !has(container.args)))",
    fieldPath: '.template.spec.containers',
    message:
      'with runtime.celery and runtime.node Muster writes the command of the container worker; remove its command and args, or write runtime: {custom: {}} to run them',
  },
];
