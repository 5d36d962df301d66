/**
 * `spec` of a WorkerPool: what a user writes. Types, defaults, CEL rules, `kubectl explain` and the reference page all
 * come from here. Two habits to keep:
 * - A bound that users trip over is a rule with a sentence, not a plain `minimum`, whose message names no way out.
 * - A required part defaults to the empty one, so that the rule which explains it (rules.ts) speaks; the API server
 *   would otherwise answer "Required value" and check no rule at all.
 */
import { z } from 'zod';
import { templateSchema } from './template.ts';
import { specRules } from './rules.ts';
import { integer, withRules } from './schema.ts';

const secretKeyRef = z
  .object({
    name: z.string().min(1).max(253).describe('Name of a Secret in the namespace of the pool.'),
    key: z.string().min(1).max(253).describe('Key in the data of the Secret.'),
  })
  .describe('One key of a Secret.');

const urlSchema = withRules(
  z.string().max(2048),
  {
    rule: "self.matches('^(redis|rediss|amqp|amqps|pyamqp)://')",
    message:
      'broker.url must begin with redis://, or with rediss:// for TLS, as in redis://redis:6379/0; Sentinel, sockets and other brokers are not supported yet',
  },
  {
    rule: "!self.matches('^(amqp|amqps|pyamqp)://')",
    message: 'RabbitMQ (amqp://) is not supported yet; write the redis:// or rediss:// URL of a Redis broker',
  },
).describe(
  'Broker URL: redis://[user:password@]host:port/db, or rediss:// for TLS. Anybody who may read the pool can read it; use urlFrom when it holds a password.',
);

const brokerSchema = withRules(
  z.object({
    url: urlSchema.exactOptional(),
    urlFrom: z
      .object({ secretKeyRef })
      .describe('Takes the broker URL from a Secret. Exactly one of url and urlFrom is set.')
      .exactOptional(),
    visibilityTimeoutSeconds: integer(1, 31_536_000)
      .describe(
        'After this time Redis gives a message that was delivered and not acknowledged to another worker. Must be at least longestTaskSeconds, or long tasks run twice (condition VisibilityHazard). Unset: what the app says, else 3600 (the default of Celery). The shortest one among all workers of a Redis database counts.',
      )
      .exactOptional(),
    tls: z
      .object({
        caFrom: z
          .object({ secretKeyRef })
          .describe('The certificate authority (PEM) that the broker is checked against. Unset: the public ones.')
          .exactOptional(),
      })
      .describe('TLS to the broker; needs a rediss:// URL.')
      .exactOptional(),
    keyPrefix: z
      .string()
      .min(1)
      .max(128)
      .describe(
        'Prefix of every Redis key of this broker (global_keyprefix in the transport options of Celery); producers must use the same. Cannot be changed: messages under the old prefix would be stranded.',
      )
      .exactOptional(),
    prioritySteps: withRules(z.array(integer(0, 255)).max(10), {
      rule: 'size(self) > 0 && self[0] == 0 && self.isSorted() && self.all(step, self.exists_one(other, other == step))',
      message: 'broker.prioritySteps must begin with 0 and rise, as in [0, 3, 6, 9]',
    })
      .describe(
        'Priority steps of the queues (priority_steps in the transport options of Celery); producers must use the same. Unset: [0, 3, 6, 9], the default of Celery. Cannot be changed: messages of the old steps would be stranded.',
      )
      .exactOptional(),
  }),
  {
    rule: "!has(self.tls) || !has(self.url) || !self.url.startsWith('redis://')",
    message: 'broker.tls needs a URL that begins with rediss://; write rediss:// or remove tls',
  },
  {
    rule: "(has(self.keyPrefix) ? self.keyPrefix : '') == (has(oldSelf.keyPrefix) ? oldSelf.keyPrefix : '')",
    fieldPath: '.keyPrefix',
    message:
      'broker.keyPrefix cannot be changed, because messages under the old prefix would be stranded; delete the WorkerPool and create it anew',
  },
  {
    rule: '(has(self.prioritySteps) ? self.prioritySteps : [0, 3, 6, 9]) == (has(oldSelf.prioritySteps) ? oldSelf.prioritySteps : [0, 3, 6, 9])',
    fieldPath: '.prioritySteps',
    message:
      'broker.prioritySteps cannot be changed, because messages of the old steps would be stranded; delete the WorkerPool and create it anew',
  },
);

const queueSchema = z.object({
  name: withRules(z.string().max(200), {
    rule: "self.matches('^[^\\\\s,]+$')",
    message: 'a queue name has at least one character and neither spaces nor commas; write one name per item of queues',
  }).describe('Name of the queue, as producers and Celery know it.'),
  tasks: z
    .array(
      withRules(z.string().max(255), {
        rule: "self.matches('^[^\\\\s?\\\\[\\\\]]+$')",
        message:
          'an item of tasks is the name of a task, as reports.build, or a pattern with *, as reports.*; spaces, ? and [ ] are not understood',
      }),
    )
    .max(100)
    .describe(
      'Names of tasks, or patterns with *, that producers send to this queue when they use the routing table. A name beats a pattern, a longer pattern beats a shorter one.',
    )
    .exactOptional(),
});

const runtimeSchema = withRules(
  z.object({
    celery: z
      .object({
        app: withRules(z.string().max(253), {
          rule: "self.matches('^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*)?$')",
          message:
            'runtime.celery.app must be what celery -A takes: a Python module and, after a colon, its Celery app, as in shop.celery:app',
        }).describe('The Celery app, as celery -A takes it: a Python module, or module:attribute.'),
        pool: z
          .enum(['prefork', 'threads', 'solo', 'gevent'])
          .default('prefork')
          .describe(
            'How a worker runs its tasks: prefork (processes), threads, gevent (greenlets; the image must have gevent) or solo (one task at a time in the main process).',
          ),
      })
      .describe(
        'Muster writes the command of the container worker: celery -A APP worker with the queues, concurrency and name of this pool. Any further option of celery worker can be set as an environment variable, as CELERY_WORKER_MAX_TASKS_PER_CHILD for --max-tasks-per-child.',
      )
      .exactOptional(),
    node: z
      .object({
        tasks: withRules(z.string().max(1024), {
          rule: "self.matches('^[^, ]+[.][cm]?[jt]s(,[^, ]+[.][cm]?[jt]s)*$')",
          message:
            'runtime.node.tasks must be the path of a module in the image that exports tasks, as ./dist/tasks.js, or several with commas between them',
        }).describe(
          'The module that exports the tasks, relative to the working directory of the image: ./dist/tasks.js. Several are separated by commas.',
        ),
      })
      .describe(
        "Muster's own worker, for tasks written in TypeScript or JavaScript. Muster writes the command of the container worker: muster-worker of the package muster, which the image has in node_modules, with the queues, concurrency, prefetch, acknowledgement and name of this pool. MUSTER_BACKEND, MUSTER_RESULT_EXPIRES_SECONDS, MUSTER_EVENTS, MUSTER_LOG_LEVEL and MUSTER_LOG_ARGS can be set as environment variables.",
      )
      .exactOptional(),
    custom: z
      .object({})
      .describe(
        "The container's own command runs. Muster sets environment variables only (MUSTER_QUEUES, MUSTER_CONCURRENCY, CELERY_BROKER_URL and others); acting on them is up to the command.",
      )
      .exactOptional(),
  }),
  {
    rule: '[has(self.celery), has(self.node), has(self.custom)].filter(one, one).size() != 1 || (has(self.celery) == has(oldSelf.celery) && has(self.node) == has(oldSelf.node))',
    message:
      'runtime cannot be changed between celery, node and custom while the pool lives; delete the WorkerPool and create it anew',
  },
);

const prefetchSchema = withRules(
  z.object({
    policy: z
      .enum(['Multiplier', 'Fair', 'Unlimited'])
      .default('Fair')
      .describe(
        'Multiplier: a worker may hold multiplier × concurrency messages. Fair: nothing is held that is not running, so that no task waits behind a long one. Unlimited: a worker takes all it can (what multiplier 0 means in Celery); the pool then carries the condition PrefetchHazard.',
      ),
    multiplier: z
      .int()
      .max(1000)
      .describe(
        'Messages held per task slot, 1 or more. Only with policy Multiplier; 4 (the default of Celery) when unset.',
      )
      .exactOptional(),
  }),
  {
    rule: '!has(self.multiplier) || self.multiplier != 0',
    fieldPath: '.multiplier',
    message:
      'multiplier 0 does not mean "no prefetch": in Celery it means no limit; write policy: Fair to hold nothing that is not running, or policy: Unlimited to have no limit',
  },
  {
    rule: '!has(self.multiplier) || self.multiplier >= 0',
    fieldPath: '.multiplier',
    message: 'multiplier must be 1 or more; write policy: Fair instead to hold nothing that is not running',
  },
  {
    rule: "!has(self.multiplier) || self.multiplier < 1 || self.policy == 'Multiplier'",
    fieldPath: '.multiplier',
    message: 'multiplier means something with policy: Multiplier only; write that policy, or remove multiplier',
  },
);

const scalingSchema = z.object({
  minReplicas: integer(0, 10_000).default(0).describe('The fewest pods. 0 lets an idle pool go to no pod at all.'),
  maxReplicas: withRules(z.int().max(10_000), {
    rule: 'self >= 1',
    message: 'scaling.maxReplicas must be 1 or more; to stop a pool write spec.replicas: 0',
  })
    .default(10)
    .describe('The most pods.'),
  tasksPerReplica: withRules(z.int().max(1_000_000), {
    rule: 'self >= 1',
    message: 'scaling.tasksPerReplica must be 1 or more; leave it out to take the value of concurrency',
  })
    .describe(
      'Outstanding tasks (waiting, held and running) that one pod is meant for: the pool has outstanding ÷ tasksPerReplica pods, rounded up. Unset: concurrency, a slot for every task.',
    )
    .exactOptional(),
  idleSeconds: integer(0, 86_400)
    .default(30)
    .describe('The pool shrinks when for this long no task was waiting, held or running and every worker said so.'),
  mode: z
    .enum(['Auto', 'Recommend'])
    .default('Auto')
    .describe(
      'Auto: Muster sets the size. Recommend: it decides and publishes status.desiredReplicas, and changes nothing.',
    ),
});

/** The schema of `spec`. */
export const specSchema = withRules(
  z.object({
    broker: brokerSchema.prefault({}).describe('Required. The broker that the workers consume from: Redis.'),
    queues: withRules(z.array(queueSchema).max(64), {
      rule: 'self.all(queue, self.exists_one(other, other.name == queue.name))',
      message: 'queues names a queue twice; keep one item per queue and put all of its patterns into tasks',
    })
      .default([])
      .describe('Required. The queues that the pool consumes. No other pool of the namespace should consume them.'),
    runtime: runtimeSchema
      .prefault({})
      .describe('Required. What runs in the pods: exactly one of celery, node and custom.'),
    concurrency: withRules(z.int().max(10_000), {
      rule: 'self >= 1',
      message: 'concurrency must be 1 or more task slots per pod; to run no task at all write spec.replicas: 0',
    })
      .default(1)
      .describe(
        'Task slots in one pod (celery worker -c). The default is 1 and not, as in Celery, the number of CPUs, which in a pod is that of the whole node.',
      ),
    prefetch: prefetchSchema.prefault({}).describe('How many messages a worker may hold.'),
    ackMode: z
      .enum(['Early', 'Late'])
      .default('Early')
      .describe(
        'When a message is acknowledged. Early (as Celery): before its task runs; a killed worker loses it. Late: after it ran; the task of a killed worker runs again, so it must be safe to run twice.',
      ),
    longestTaskSeconds: withRules(z.int().max(604_800), {
      rule: 'self >= 1',
      message: 'longestTaskSeconds must be 1 or more: the longest time, in seconds, that a task may run',
    })
      .default(3600)
      .describe(
        'The longest a task may run. A worker that is told to stop has this long (and 30 s more) to finish before it is killed; it goes as soon as it is done. The visibility timeout of the broker is checked against it.',
      ),
    scaling: scalingSchema.prefault({}).describe('How many pods there are. Has no effect while spec.replicas is set.'),
    replicas: integer(0, 10_000)
      .describe(
        'Fixes the number of pods and turns autoscaling off; what kubectl scale writes. A HorizontalPodAutoscaler can only take over once it is set. Remove it to turn autoscaling on again.',
      )
      .exactOptional(),
    template: templateSchema.prefault({}).describe('Required. The pods, as in a Deployment.'),
  }),
  ...specRules,
);
