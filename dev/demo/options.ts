// The command line of the demo.
import { Command, InvalidArgumentError } from 'commander';

/** What the user asked for. */
export interface DemoOptions {
  /** One JSON object on the last line of stdout, progress on stderr. */
  readonly json: boolean;
  /** Leave everything running at the end. */
  readonly keep: boolean;
  /** How long each set-up is fed. */
  readonly seconds: number;
  /** A cluster of the user's instead of one on this machine. */
  readonly context?: string;
  readonly operatorImage?: string;
  readonly appImage?: string;
  readonly redisImage: string;
}

/** Reads the command line; commander prints help and mistakes itself. Throws on flags that do not go together. */
export function parseOptions(argv: readonly string[]): DemoOptions {
  const program = new Command('demo')
    .description(
      'Runs the same Celery load in one shared pool and then in two, on a real Kubernetes, and compares them.',
    )
    .option('--json', 'print the numbers as one JSON object on the last line of stdout', false)
    .option('--keep', 'leave the cluster running at the end, to look around', false)
    .option('--seconds <n>', 'how long each set-up is fed with tasks', parseSeconds, 40)
    .option('--context <name>', 'use the cluster of this kubeconfig context instead of starting one')
    .option('--operator-image <image:tag>', 'with --context: the operator, built from Dockerfile')
    .option('--app-image <image:tag>', 'with --context: the application, built from dev/demo/app')
    .option('--redis-image <image:tag>', 'with --context: Redis', 'redis:7')
    .showHelpAfterError('(npm run demo -- --help says more)')
    .allowExcessArguments(false)
    .parse(argv);
  const options = program.opts<DemoOptions>();
  if (options.context === undefined && (options.operatorImage ?? options.appImage) !== undefined) {
    program.error('error: --operator-image and --app-image go with --context; without it the images are built here.');
  }
  return options;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!Number.isInteger(seconds) || seconds < 10 || seconds > 600) {
    throw new InvalidArgumentError('It is a whole number from 10 to 600.');
  }
  return seconds;
}
