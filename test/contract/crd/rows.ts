// The rows of crd-rules.test.ts: pools that are accepted, refused, and changed.
import { makePool, type PoolBuilder } from '../../support/builders.ts';

/** A pool that is refused: the field that is pointed at and the sentence. */
export interface Refused {
  readonly pool: PoolBuilder;
  readonly field: string;
  readonly sentence: string;
}

/** A change of `spec` on a living pool and what comes of it. */
export interface Changed {
  readonly from: Readonly<Record<string, unknown>>;
  readonly to: Readonly<Record<string, unknown>>;
  readonly want: 'accepted' | { readonly field: string; readonly sentence: string };
}

const pool = makePool('a');
const secret = { secretKeyRef: { name: 'redis', key: 'url' } };
const worker = { name: 'worker', image: 'shop:1' };
const steps = (...prioritySteps: number[]): PoolBuilder => pool.broker({ url: 'redis://redis:6379/0', prioritySteps });
const url = (text: string): PoolBuilder => pool.broker({ url: text });

/** Pools that a user may write. */
export const accepted: Readonly<Record<string, PoolBuilder>> = {
  'the smallest pool': pool,
  'a URL from a Secret': pool.broker({ urlFrom: secret }),
  'a rediss URL with an authority': pool.broker({ url: 'rediss://redis:6379/0', tls: { caFrom: secret } }),
  'an authority with a URL from a Secret': pool.broker({ urlFrom: secret, tls: { caFrom: secret } }),
  'a key prefix and other priority steps': pool.broker({ urlFrom: secret, keyPrefix: 'shop:', prioritySteps: [0, 5] }),
  'a single priority step': steps(0),
  'multiplier 1': pool.prefetch('Multiplier', 1),
  'policy Multiplier without a multiplier': pool.prefetch('Multiplier'),
  'policy Unlimited': pool.prefetch('Unlimited'),
  'multiplier × concurrency of 65535': pool.prefetch('Multiplier', 255).concurrency(257),
  'two queues with patterns': pool.queue('a', 'reports.*', 'exports.yearly').queue('b.high-priority:1', 'x.*.y'),
  'a queue name with a hash tag': pool.queue('{orders}.high'),
  'the pool solo with one slot': pool.app('shop.celery:app', 'solo'),
  'a module without an attribute': pool.app('shop'),
  'runtime node with settings of its own': pool
    .node('./dist/tasks.js,./dist/more.mjs')
    .worker({ env: [{ name: 'MUSTER_BACKEND', value: 'none' }] }),
  'runtime custom with a command': pool.custom().worker({ command: ['run'], args: ['--now'] }),
  'min equal to max': pool.min(3).max(3),
  'a fixed size of 0': pool.fixed(0),
  'a name of 46 characters': makePool('a'.repeat(46)),
  'a name that begins with a digit': makePool('2nd-pool'),
  'other containers, with a command': pool.template({
    spec: { containers: [worker, { name: 'side', image: 'side:1', command: ['run'] }] },
  }),
  "the pod's name among the variables of a sidecar": pool.template({
    spec: { containers: [worker, { name: 'side', image: 'side:1', env: [{ name: 'POD_NAME', value: 'a' }] }] },
  }),
  'volumes, one of them with a name that begins like one of Muster': pool.template({
    spec: {
      containers: [{ ...worker, volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
      volumes: [
        { name: 'data', emptyDir: { medium: 'Memory' } },
        { name: 'muster-tls-of-mine', emptyDir: {} },
      ],
    },
  }),
  'fields of a pod that the definition does not name': pool
    .worker({ env: [{ name: 'A', value: 'b' }], resources: { limits: { cpu: '1' } } })
    .spec({ longestTaskSeconds: 604_800 }),
  'restartPolicy Always': pool.template({ spec: { containers: [worker], restartPolicy: 'Always' } }),
};

const brokerChoice =
  'broker needs exactly one of url and urlFrom; write urlFrom: {secretKeyRef: {name: …, key: …}} for a URL in a Secret, or url: redis://redis:6379/0';
const scheme =
  'broker.url must begin with redis://, or with rediss:// for TLS, as in redis://redis:6379/0; Sentinel, sockets and other brokers are not supported yet';
const rabbit = 'RabbitMQ (amqp://) is not supported yet; write the redis:// or rediss:// URL of a Redis broker';
const prioritySteps = 'broker.prioritySteps must begin with 0 and rise, as in [0, 3, 6, 9]';
const multiplierZero =
  'multiplier 0 does not mean "no prefetch": in Celery it means no limit; write policy: Fair to hold nothing that is not running, or policy: Unlimited to have no limit';
const multiplierPolicy =
  'multiplier means something with policy: Multiplier only; write that policy, or remove multiplier';
const noQueue = 'queues is empty; name at least one queue for the pool to consume, as in queues: [{name: celery}]';
const queueName =
  'a queue name has at least one character and neither spaces nor commas; write one name per item of queues';
const pattern =
  'an item of tasks is the name of a task, as reports.build, or a pattern with *, as reports.*; spaces, ? and [ ] are not understood';
const runtimeChoice =
  "runtime needs exactly one of celery, node and custom; write celery: {app: shop.celery:app}, node: {tasks: ./dist/tasks.js}, or custom: {} to run the container's own command";
const appForm =
  'runtime.celery.app must be what celery -A takes: a Python module and, after a colon, its Celery app, as in shop.celery:app';
const noWorker = 'the template has no container named worker; give that name to the container that runs the tasks';
const noImage = 'the container worker has no image; write image: with the image that holds your tasks';
const ownCommand =
  'with runtime.celery and runtime.node Muster writes the command of the container worker; remove its command and args, or write runtime: {custom: {}} to run them';
const ownVariable =
  'CELERY_BROKER_URL and names that begin with MUSTER_ are set by Muster; remove the variable from env and write the broker into spec.broker';
const podVariable =
  'POD_NAME and POD_NAMESPACE are set by Muster in the container worker; remove them from its env, and read there the name and the namespace of the pod';
const ownVolume =
  "muster-worker, muster-routes and muster-tls are the names of Muster's own volumes; give the volume another name";
const nameLength =
  'the name of a WorkerPool has at most 46 characters, because the names of its pods are made from it; write a shorter one';
const containers = 'spec.template.spec.containers';

/** Pools that a user is likely to write, and what the answer must be. */
export const refused: Readonly<Record<string, Refused>> = {
  'neither url nor urlFrom': { pool: pool.broker({}), field: 'spec.broker', sentence: brokerChoice },
  'no broker at all': { pool: pool.spec({ broker: undefined }), field: 'spec.broker', sentence: brokerChoice },
  'both url and urlFrom': {
    pool: pool.broker({ url: 'redis://redis/0', urlFrom: secret }),
    field: 'spec.broker',
    sentence: brokerChoice,
  },
  'an unknown scheme': { pool: url('sqs://queue'), field: 'spec.broker.url', sentence: scheme },
  'a Sentinel URL': { pool: url('sentinel://a;sentinel://b'), field: 'spec.broker.url', sentence: scheme },
  'a URL without a scheme': { pool: url('redis:6379'), field: 'spec.broker.url', sentence: scheme },
  'an empty URL': { pool: url(''), field: 'spec.broker.url', sentence: scheme },
  'an amqp URL': { pool: url('amqp://guest@rabbit//'), field: 'spec.broker.url', sentence: rabbit },
  'an amqps URL': { pool: url('amqps://guest@rabbit//'), field: 'spec.broker.url', sentence: rabbit },
  'tls with a redis URL': {
    pool: pool.broker({ url: 'redis://redis/0', tls: { caFrom: secret } }),
    field: 'spec.broker',
    sentence: 'broker.tls needs a URL that begins with rediss://; write rediss:// or remove tls',
  },
  'priority steps that do not begin with 0': {
    pool: steps(3, 6),
    field: 'spec.broker.prioritySteps',
    sentence: prioritySteps,
  },
  'priority steps that fall': { pool: steps(0, 6, 3), field: 'spec.broker.prioritySteps', sentence: prioritySteps },
  'a priority step twice': { pool: steps(0, 3, 3), field: 'spec.broker.prioritySteps', sentence: prioritySteps },
  'no priority step': { pool: steps(), field: 'spec.broker.prioritySteps', sentence: prioritySteps },
  'multiplier 0': { pool: pool.prefetch('Multiplier', 0), field: 'spec.prefetch.multiplier', sentence: multiplierZero },
  'multiplier 0 without a policy': {
    pool: pool.spec({ prefetch: { multiplier: 0 } }),
    field: 'spec.prefetch.multiplier',
    sentence: multiplierZero,
  },
  'multiplier below 0': {
    pool: pool.prefetch('Multiplier', -1),
    field: 'spec.prefetch.multiplier',
    sentence: 'multiplier must be 1 or more; write policy: Fair instead to hold nothing that is not running',
  },
  'a multiplier with policy Fair': {
    pool: pool.prefetch('Fair', 4),
    field: 'spec.prefetch.multiplier',
    sentence: multiplierPolicy,
  },
  'a multiplier without a policy': {
    pool: pool.spec({ prefetch: { multiplier: 4 } }),
    field: 'spec.prefetch.multiplier',
    sentence: multiplierPolicy,
  },
  'more held messages than Celery can count': {
    pool: pool.prefetch('Multiplier', 256).concurrency(256),
    field: 'spec.prefetch.multiplier',
    sentence:
      'multiplier × concurrency is more than 65535, which Celery takes as no limit; write a smaller multiplier, or policy: Unlimited',
  },
  'min above max': {
    pool: pool.min(11),
    field: 'spec.scaling.minReplicas',
    sentence: 'scaling.minReplicas is larger than scaling.maxReplicas; raise maxReplicas or lower minReplicas',
  },
  'max 0': {
    pool: pool.max(0),
    field: 'spec.scaling.maxReplicas',
    sentence: 'scaling.maxReplicas must be 1 or more; to stop a pool write spec.replicas: 0',
  },
  'tasksPerReplica 0': {
    pool: pool.scaling({ tasksPerReplica: 0 }),
    field: 'spec.scaling.tasksPerReplica',
    sentence: 'scaling.tasksPerReplica must be 1 or more; leave it out to take the value of concurrency',
  },
  'concurrency 0': {
    pool: pool.concurrency(0),
    field: 'spec.concurrency',
    sentence: 'concurrency must be 1 or more task slots per pod; to run no task at all write spec.replicas: 0',
  },
  'two slots in the pool solo': {
    pool: pool.app('shop', 'solo').concurrency(2),
    field: 'spec.concurrency',
    sentence: 'the pool solo runs one task at a time; write concurrency: 1, or pool: prefork, threads or gevent',
  },
  'longestTaskSeconds 0': {
    pool: pool.longest(0),
    field: 'spec.longestTaskSeconds',
    sentence: 'longestTaskSeconds must be 1 or more: the longest time, in seconds, that a task may run',
  },
  'an empty list of queues': { pool: pool.spec({ queues: [] }), field: 'spec.queues', sentence: noQueue },
  'a queue twice': {
    pool: pool.queue('a').queue('b').queue('a'),
    field: 'spec.queues',
    sentence: 'queues names a queue twice; keep one item per queue and put all of its patterns into tasks',
  },
  'queues in one name': { pool: pool.queue('a,b'), field: 'spec.queues[0].name', sentence: queueName },
  'a queue name with a space': { pool: pool.queue('a b'), field: 'spec.queues[0].name', sentence: queueName },
  'an empty queue name': { pool: pool.queue(''), field: 'spec.queues[0].name', sentence: queueName },
  'a pattern with ?': { pool: pool.queue('a', 'x.?'), field: 'spec.queues[0].tasks[0]', sentence: pattern },
  'a pattern with a set': {
    pool: pool.queue('a', 'x.*', 'y.[ab]*'),
    field: 'spec.queues[0].tasks[1]',
    sentence: pattern,
  },
  'two runtimes': {
    pool: pool.spec({ runtime: { celery: { app: 'shop' }, custom: {} } }),
    field: 'spec.runtime',
    sentence: runtimeChoice,
  },
  'celery and node': {
    pool: pool.spec({ runtime: { celery: { app: 'shop' }, node: { tasks: './tasks.js' } } }),
    field: 'spec.runtime',
    sentence: runtimeChoice,
  },
  'tasks that are no module': {
    pool: pool.node('./dist'),
    field: 'spec.runtime.node.tasks',
    sentence:
      'runtime.node.tasks must be the path of a module in the image that exports tasks, as ./dist/tasks.js, or several with commas between them',
  },
  'a command beside runtime.node': {
    pool: pool.node('./tasks.js').worker({ command: ['node'] }),
    field: containers,
    sentence: ownCommand,
  },
  'a setting of the Node worker in a Celery pool': {
    pool: pool.worker({ env: [{ name: 'MUSTER_EVENTS', value: 'true' }] }),
    field: containers,
    sentence:
      'MUSTER_BACKEND, MUSTER_EVENTS and the like are settings of runtime.node; remove them from env of a Celery pool',
  },
  'no runtime': { pool: pool.spec({ runtime: {} }), field: 'spec.runtime', sentence: runtimeChoice },
  'an app that is a path': { pool: pool.app('./shop/celery.py'), field: 'spec.runtime.celery.app', sentence: appForm },
  'no template': { pool: pool.spec({ template: undefined }), field: containers, sentence: noWorker },
  'no container named worker': {
    pool: pool.template({ spec: { containers: [{ name: 'celery', image: 'shop:1' }] } }),
    field: containers,
    sentence: noWorker,
  },
  'a worker without an image': {
    pool: pool.template({ spec: { containers: [{ name: 'worker' }] } }),
    field: containers,
    sentence: noImage,
  },
  'a command beside runtime.celery': {
    pool: pool.worker({ command: ['celery'] }),
    field: containers,
    sentence: ownCommand,
  },
  'args beside runtime.celery': { pool: pool.worker({ args: ['worker'] }), field: containers, sentence: ownCommand },
  'a broker URL among the variables': {
    pool: pool.worker({ env: [{ name: 'CELERY_BROKER_URL', value: 'redis://other/0' }] }),
    field: `${containers}[0].env[0]`,
    sentence: ownVariable,
  },
  "a variable of Muster's": {
    pool: pool.worker({ env: [{ name: 'A' }, { name: 'MUSTER_QUEUES', value: 'b' }] }),
    field: `${containers}[0].env[1]`,
    sentence: ownVariable,
  },
  "the pod's name among the variables of the worker": {
    pool: pool.worker({ env: [{ name: 'A' }, { name: 'POD_NAME', value: 'b' }] }),
    field: `${containers}[0]`,
    sentence: podVariable,
  },
  "the pod's namespace among the variables of the worker": {
    pool: pool.worker({ env: [{ name: 'POD_NAMESPACE', value: 'b' }] }),
    field: `${containers}[0]`,
    sentence: podVariable,
  },
  "a volume with a name of Muster's": {
    pool: pool.template({ spec: { containers: [worker], volumes: [{ name: 'a' }, { name: 'muster-tls' }] } }),
    field: 'spec.template.spec.volumes[1]',
    sentence: ownVolume,
  },
  'restartPolicy Never': {
    pool: pool.template({ spec: { containers: [worker], restartPolicy: 'Never' } }),
    field: 'spec.template.spec.restartPolicy',
    sentence: 'restartPolicy must be Always, because a worker that ends is started again; remove it or write Always',
  },
  'a name of 47 characters': { pool: makePool('a'.repeat(47)), field: 'metadata.name', sentence: nameLength },
  'a name with a dot': {
    pool: makePool('shop.reports'),
    field: 'metadata.name',
    sentence:
      'the name of a WorkerPool has lower-case letters, digits and - only, because it becomes a label; write - in the place of dots',
  },
};

const broker = { url: 'redis://redis/0' };
const keyPrefixFixed = {
  field: 'spec.broker.keyPrefix',
  sentence:
    'broker.keyPrefix cannot be changed, because messages under the old prefix would be stranded; delete the WorkerPool and create it anew',
};
const prioritiesFixed = {
  field: 'spec.broker.prioritySteps',
  sentence:
    'broker.prioritySteps cannot be changed, because messages of the old steps would be stranded; delete the WorkerPool and create it anew',
};
const runtimeFixed = {
  field: 'spec.runtime',
  sentence:
    'runtime cannot be changed between celery, node and custom while the pool lives; delete the WorkerPool and create it anew',
};

/** Changes of a living pool, as merge patches of `spec`. */
export const changed: Readonly<Record<string, Changed>> = {
  'refuses a key prefix where there was none': {
    from: { broker },
    to: { broker: { keyPrefix: 'x:' } },
    want: keyPrefixFixed,
  },
  'refuses another key prefix': {
    from: { broker: { ...broker, keyPrefix: 'x:' } },
    to: { broker: { keyPrefix: 'y:' } },
    want: keyPrefixFixed,
  },
  'refuses to drop a key prefix': {
    from: { broker: { ...broker, keyPrefix: 'x:' } },
    to: { broker: { keyPrefix: null } },
    want: keyPrefixFixed,
  },
  'refuses other priority steps': {
    from: { broker },
    to: { broker: { prioritySteps: [0, 5] } },
    want: prioritiesFixed,
  },
  'accepts the default priority steps written out': {
    from: { broker },
    to: { broker: { prioritySteps: [0, 3, 6, 9] } },
    want: 'accepted',
  },
  'accepts another URL': { from: { broker }, to: { broker: { url: 'redis://other/0' } }, want: 'accepted' },
  'accepts a URL from a Secret instead': {
    from: { broker },
    to: { broker: { url: null, urlFrom: secret } },
    want: 'accepted',
  },
  'refuses custom instead of celery': {
    from: { runtime: { celery: { app: 'shop' } } },
    to: { runtime: { celery: null, custom: {} } },
    want: runtimeFixed,
  },
  'refuses node instead of celery': {
    from: { runtime: { celery: { app: 'shop' } } },
    to: { runtime: { celery: null, node: { tasks: './tasks.js' } } },
    want: runtimeFixed,
  },
  'refuses celery instead of custom': {
    from: { runtime: { custom: {} } },
    to: { runtime: { custom: null, celery: { app: 'shop' } } },
    want: runtimeFixed,
  },
  'refuses a second runtime with one sentence only': {
    from: { runtime: { celery: { app: 'shop' } } },
    to: { runtime: { custom: {} } },
    want: { field: 'spec.runtime', sentence: runtimeChoice },
  },
  'accepts another app': {
    from: { runtime: { celery: { app: 'shop' } } },
    to: { runtime: { celery: { app: 'shop.tasks' } } },
    want: 'accepted',
  },
};
