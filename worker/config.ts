/**
 * What a worker is started with: flags, each with an environment variable, checked once. An unknown flag or a value that
 * makes no sense refuses to start with one sentence.
 */
import { hostname } from 'node:os';
import { Command, CommanderError, Option } from 'commander';
import { z } from 'zod';
import { parseEndpoint, type BrokerEndpoint } from '../operator/broker/endpoint.ts';
import { logLevels } from '../operator/runtime/log.ts';

const list = z
  .string()
  .transform((text) => [...new Set(text.split(',').map((part) => part.trim()))])
  .pipe(z.array(z.string().min(1, 'names an empty entry')).min(1));
const seconds = z.coerce.number().positive().max(31_536_000);

const schema = z
  .object({
    tasks: list,
    queues: list,
    broker: z.string(),
    backend: z.string().optional(),
    concurrency: z.coerce.number().int().min(1).max(10_000),
    prefetch: z
      .string()
      .refine((text) => ['fair', 'unlimited'].includes(text) || /^[1-9]\d{0,4}$/.test(text), {
        message: 'is neither fair, unlimited nor a whole number from 1 (0 means unlimited in Celery: write unlimited)',
      })
      .transform((text): 'fair' | 'unlimited' | number =>
        text === 'fair' || text === 'unlimited' ? text : Number(text),
      ),
    ack: z.enum(['early', 'late']),
    hostname: z.string().min(1).optional(),
    pool: z.string().min(1).optional(),
    logLevel: z.enum(logLevels),
    logArgs: z.boolean(),
    events: z.boolean(),
    listenAddress: z.string(),
    port: z.coerce.number().int().min(0).max(65_535).optional(),
    visibilityTimeoutSeconds: seconds,
    drainSeconds: seconds,
    resultExpiresSeconds: z.coerce.number().int().min(0).max(31_536_000),
    keyPrefix: z.string(),
    resultKeyPrefix: z.string(),
    defaultQueue: z.string().min(1),
    routesFile: z.string().min(1).optional(),
    prioritySteps: z
      .string()
      .regex(/^\d(,\d)*$/, 'is not a list of digits such as 0,3,6,9')
      .transform((text) => [...new Set(text.split(',').map(Number))].sort((a, b) => a - b)),
    caFile: z.string().optional(),
  })
  .strict();

/** The settings of a worker. Field meanings are those of the flags below. */
export type Config = Readonly<Omit<z.infer<typeof schema>, 'broker' | 'backend' | 'hostname' | 'caFile'>> & {
  readonly broker: BrokerEndpoint;
  /** Absent: no results are stored. */
  readonly backend: BrokerEndpoint | undefined;
  /** Celery's node name, `name@host`. */
  readonly hostname: string;
};

/** A setting that cannot be used; its message is for the person who starts the worker. */
export class ConfigError extends Error {
  readonly kind = 'config';
  override readonly name = 'ConfigError';
}

/** Either the settings, or a text (help, version) that was asked for instead. */
export type Parsed =
  { readonly kind: 'config'; readonly config: Config } | { readonly kind: 'text'; readonly text: string };

function command(version: string): Command {
  const option = (flags: string, description: string, env: string): Option => new Option(flags, description).env(env);
  return new Command('muster-worker')
    .description('Runs tasks written in TypeScript or JavaScript from the queues of any Celery client.')
    .version(version)
    .addOption(option('--tasks <files>', 'modules that export tasks, separated by commas', 'MUSTER_TASKS'))
    .addOption(option('--queues <names>', 'queues to consume, separated by commas', 'MUSTER_QUEUES'))
    .addOption(option('--broker <url>', 'redis:// or rediss:// (TLS)', 'MUSTER_BROKER'))
    .addOption(
      option(
        '--backend <url>',
        'where results are stored; "none" stores none, and without it the broker does',
        'MUSTER_BACKEND',
      ),
    )
    .addOption(option('--concurrency <n>', 'task slots', 'MUSTER_CONCURRENCY').default('8'))
    .addOption(
      option('--prefetch <policy>', 'fair, a multiplier from 1, or unlimited', 'MUSTER_PREFETCH').default('fair'),
    )
    .addOption(
      option('--ack <mode>', 'early (before a task runs, as Celery) or late (after it)', 'MUSTER_ACK').default('early'),
    )
    .addOption(option('--hostname <name>', 'node name, name@host', 'MUSTER_HOSTNAME'))
    .addOption(option('--pool <name>', 'the WorkerPool that it belongs to, namespace/name', 'MUSTER_POOL'))
    .addOption(option('--events', 'send task events, for Flower and exporters', 'MUSTER_EVENTS').default(false))
    .addOption(option('--log-level <level>', `one of ${logLevels.join(', ')}`, 'MUSTER_LOG_LEVEL').default('info'))
    .addOption(
      option('--log-args', 'log the arguments of tasks, which may be secret', 'MUSTER_LOG_ARGS').default(false),
    )
    .addOption(
      option('--listen-address <ip>', 'address of /metrics, /healthz and /readyz', 'MUSTER_LISTEN_ADDRESS').default(
        '127.0.0.1',
      ),
    )
    .addOption(
      option('--port <port>', 'port of /metrics, /healthz and /readyz; none is opened without it', 'MUSTER_PORT'),
    )
    .addOption(
      option(
        '--visibility-timeout-seconds <s>',
        'after this long a message of a worker that is not heard of goes back to its queue',
        'MUSTER_VISIBILITY_TIMEOUT_SECONDS',
      ).default('3600'),
    )
    .addOption(
      option('--drain-seconds <s>', 'how long running tasks may go on after SIGTERM', 'MUSTER_DRAIN_SECONDS').default(
        '3600',
      ),
    )
    .addOption(
      option(
        '--result-expires-seconds <s>',
        'how long results are kept; 0 for ever',
        'MUSTER_RESULT_EXPIRES_SECONDS',
      ).default('86400'),
    )
    .addOption(option('--key-prefix <text>', "the application's global_keyprefix", 'MUSTER_KEY_PREFIX').default(''))
    .addOption(
      option('--result-key-prefix <text>', "the result backend's global_keyprefix", 'MUSTER_RESULT_KEY_PREFIX').default(
        '',
      ),
    )
    .addOption(
      option(
        '--default-queue <name>',
        'queue of the tasks that tasks send without a route',
        'MUSTER_DEFAULT_QUEUE',
      ).default('celery'),
    )
    .addOption(
      option(
        '--routes-file <path>',
        'JSON in the form of task_routes: the queues of the tasks that tasks send',
        'MUSTER_ROUTES_FILE',
      ),
    )
    .addOption(
      option('--priority-steps <digits>', "the application's priority_steps", 'MUSTER_PRIORITY_STEPS').default(
        '0,3,6,9',
      ),
    )
    .addOption(option('--ca-file <path>', 'certificate authority of the broker, PEM', 'MUSTER_CA_FILE'));
}

/**
 * Reads flags and environment. Throws ConfigError with one sentence that names the flag.
 * @param readText reads the file of a path, for the certificate authority
 */
export function parseConfig(argv: readonly string[], version: string, readText: (path: string) => string): Parsed {
  const texts: string[] = [];
  const program = command(version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => void texts.push(text), writeErr: () => undefined })
    .allowExcessArguments(false);
  try {
    program.parse([...argv], { from: 'user' });
  } catch (err) {
    if (!(err instanceof CommanderError)) throw err;
    if (err.exitCode === 0) return { kind: 'text', text: texts.join('') };
    throw new ConfigError(err.message.replace(/^error: /, ''));
  }
  const options = program.opts<Record<string, unknown>>();
  for (const name of ['tasks', 'queues', 'broker']) {
    if (options[name] === undefined) throw new ConfigError(`--${name} is missing; see muster-worker --help`);
  }
  const checked = schema.safeParse({
    ...options,
    events: isTrue(options['events']),
    logArgs: isTrue(options['logArgs']),
  });
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const flag = String(issue?.path[0] ?? '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new ConfigError(`--${flag} ${issue?.message ?? 'is wrong'}`);
  }
  const { broker, backend, hostname: node, caFile, ...rest } = checked.data;
  const caPem = caFile === undefined ? undefined : readCa(caFile, readText);
  const endpoint = (flag: string, url: string): BrokerEndpoint => {
    const parsed = parseEndpoint({
      ...{ url, keyPrefix: rest.keyPrefix, prioritySteps: rest.prioritySteps },
      ...(caPem === undefined || !url.startsWith('rediss:') ? {} : { caPem }),
    });
    if (parsed.kind === 'invalid') throw new ConfigError(`${flag}: ${parsed.message}`);
    return parsed.endpoint;
  };
  return {
    kind: 'config',
    config: {
      ...rest,
      broker: endpoint('--broker', broker),
      backend: backend === 'none' ? undefined : endpoint('--backend', backend ?? broker),
      hostname: node === undefined ? `muster@${hostname()}` : node.includes('@') ? node : `${node}@${hostname()}`,
    },
  };
}

/** A switch that came from the environment is a text: `MUSTER_EVENTS=false` must not switch it on. */
function isTrue(value: unknown): boolean {
  return value === true || value === 'true' || value === '1';
}

function readCa(path: string, readText: (path: string) => string): string {
  try {
    return readText(path);
  } catch (err) {
    throw new ConfigError(`--ca-file: ${path} cannot be read (${err instanceof Error ? err.message : String(err)})`);
  }
}
