/**
 * What the operator is started with: flags, each with an environment variable, checked once and frozen. An unknown
 * flag or a value that makes no sense refuses to start with one sentence, because an operator that runs with a setting
 * it did not understand is worse than one that does not run.
 */
import { Command, CommanderError, Option } from 'commander';
import { z } from 'zod';
import { logLevels } from './runtime/log.ts';

const port = z.coerce.number().int().min(0).max(65535);
const positiveInt = z.coerce.number().int().min(1);

const schema = z
  .object({
    namespace: z.string().optional(),
    leaderElect: z.boolean(),
    leaseName: z.string().min(1),
    leaseNamespace: z.string().optional(),
    listenAddress: z.string().min(1),
    port,
    logLevel: z.enum(logLevels),
    workers: positiveInt.max(64),
    tickMs: positiveInt.min(100).max(60_000),
    fullReadMs: positiveInt.min(1000).max(600_000),
    workerFile: z.string().optional(),
  })
  .strict();

/** The operator's settings. Field meanings are those of the flags below. */
export type Config = Readonly<z.infer<typeof schema>>;

/** A setting that cannot be used; its message is for the person who starts the operator. */
export class ConfigError extends Error {
  readonly kind = 'config';
  override readonly name = 'ConfigError';
}

/** Either the settings, or a text (help, version) that was asked for instead. */
export type Parsed =
  { readonly kind: 'config'; readonly config: Config } | { readonly kind: 'text'; readonly text: string };

function command(version: string): Command {
  const option = (flags: string, description: string, env: string): Option => new Option(flags, description).env(env);
  return new Command('muster-operator')
    .description(
      'Runs fleets of task-queue workers: keeps the Deployment, routing table and size of every WorkerPool right.',
    )
    .version(version)
    .addOption(option('--namespace <name>', 'watch this namespace only; all of them when absent', 'MUSTER_NAMESPACE'))
    .addOption(
      option(
        '--leader-elect [on]',
        'act only while holding the Lease, so that several replicas can run',
        'MUSTER_LEADER_ELECT',
      ).default(false),
    )
    .addOption(option('--lease-name <name>', 'name of the Lease', 'MUSTER_LEASE_NAME').default('muster-operator'))
    .addOption(
      option(
        '--lease-namespace <name>',
        "namespace of the Lease; the pod's own, or default, when absent",
        'MUSTER_LEASE_NAMESPACE',
      ),
    )
    .addOption(
      option(
        '--listen-address <ip>',
        'address that /metrics, /healthz and /readyz listen on',
        'MUSTER_LISTEN_ADDRESS',
      ).default('127.0.0.1'),
    )
    .addOption(
      option('--port <port>', 'port of /metrics, /healthz and /readyz; 0 picks a free one', 'MUSTER_PORT').default(
        '8080',
      ),
    )
    .addOption(option('--log-level <level>', `one of ${logLevels.join(', ')}`, 'MUSTER_LOG_LEVEL').default('info'))
    .addOption(option('--workers <n>', 'pools that are reconciled at the same time', 'MUSTER_WORKERS').default('8'))
    .addOption(
      option('--tick-ms <ms>', 'how often changed queues are read again, in milliseconds', 'MUSTER_TICK_MS').default(
        '2000',
      ),
    )
    .addOption(
      option(
        '--full-read-ms <ms>',
        'how often every queue is read, changed or not, in milliseconds',
        'MUSTER_FULL_READ_MS',
      ).default('10000'),
    )
    .addOption(
      option(
        '--worker-file <path>',
        'the Python file that Celery pods load; the one shipped with the operator when absent',
        'MUSTER_WORKER_FILE',
      ),
    )
    .allowExcessArguments(false)
    .exitOverride();
}

/**
 * Reads the command line and the environment.
 * @param argv arguments without the program's own name
 * @throws ConfigError with one sentence that names the setting and what it may be
 */
export function parseConfig(argv: readonly string[], version: string): Parsed {
  const written: string[] = [];
  const parser = command(version).configureOutput({
    writeOut: (text) => written.push(text),
    writeErr: () => undefined,
  });
  try {
    parser.parse([...argv], { from: 'user' });
  } catch (err) {
    if (!(err instanceof CommanderError)) throw err;
    if (err.exitCode === 0) return { kind: 'text', text: written.join('') };
    throw new ConfigError(`${err.message.replace(/^error: /, '')} (muster-operator --help lists the settings)`, {
      cause: err,
    });
  }
  const options: Record<string, unknown> = parser.opts();
  const result = schema.safeParse({ ...options, leaderElect: isTrue(options['leaderElect']) });
  if (!result.success) {
    const [issue] = result.error.issues;
    const flag = String(issue?.path[0] ?? '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new ConfigError(
      `--${flag}: ${issue?.message ?? 'cannot be used'} (muster-operator --help lists the settings)`,
    );
  }
  return { kind: 'config', config: Object.freeze(result.data) };
}

/** A switch that came from the environment is a text: `MUSTER_LEADER_ELECT=false` must not switch it on. */
function isTrue(value: unknown): boolean {
  return value === true || value === 'true' || value === '1';
}
