// Programs that tests and the demo run beside the cluster. Each is taken from the system when it is there, and otherwise
// unpacked from Debian's package into the cache: no root, no system service.
import { join } from 'node:path';
import { pathExists } from './cacheDir.ts';
import { unpackDebianPackages } from './apt.ts';
import { commandPath } from './commandPath.ts';
import { MissingError, type Say } from './progress.ts';
import { unpackedBinDir } from './unpackedCommands.ts';

/** Path of `redis-server`. Throws MissingError with the command that installs it. */
export function ensureRedisServer(say?: Say): Promise<string> {
  return ensureCommand({
    command: 'redis-server',
    packages: ['redis-server'],
    dependencies: true,
    why: 'to run Redis for tests and the demo',
    estimateSeconds: 10,
    elsewhere: 'brew install redis',
    say,
  });
}

/** Path of `promtool`, which checks metrics. Throws MissingError with the command that installs it. */
export function ensurePromtool(say?: Say): Promise<string> {
  return ensureCommand({
    command: 'promtool',
    packages: ['prometheus'],
    // promtool is one static program; what the server would need is 60 MB of web pages.
    dependencies: false,
    why: 'to check metrics with promtool',
    estimateSeconds: 20,
    elsewhere: 'brew install prometheus',
    say,
  });
}

interface WantedCommand {
  readonly command: string;
  readonly packages: readonly string[];
  readonly dependencies: boolean;
  readonly why: string;
  readonly estimateSeconds: number;
  /** What a user types where there is no apt. */
  readonly elsewhere: string;
  readonly say: Say | undefined;
}

async function ensureCommand(wanted: WantedCommand): Promise<string> {
  const { command, packages, elsewhere, say, ...reason } = wanted;
  const installed = await commandPath(command);
  if (installed !== undefined) return installed;
  if ((await commandPath('apt-get')) === undefined) {
    throw new MissingError(`${command} is needed ${reason.why}: \`${elsewhere}\`.`);
  }
  const root = await unpackDebianPackages(command, packages, { ...reason, ...(say === undefined ? {} : { say }) });
  const path = join(await unpackedBinDir(root), command);
  if (!(await pathExists(path)))
    throw new MissingError(
      `Debian's ${packages.join(', ')} has no ${command}: \`apt-get install ${packages.join(' ')}\`.`,
    );
  return path;
}
