// Debian's packages: installed into the system (root), or unpacked into the cache (anybody) where the system should stay as
// it is, because installing the package would start a service.
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa, type Options } from 'execa';
import { cacheDir, makeOnce, withLock } from './cacheDir.ts';
import { commandPath } from './commandPath.ts';
import { MissingError, roughly, sayOnStderr, type Say } from './progress.ts';

/** What the user is told while a package is fetched. */
export interface InstallReason {
  /** What needs it, as the end of a sentence: "to run containers". */
  readonly why: string;
  /** Time on an ordinary connection. */
  readonly estimateSeconds: number;
  readonly say?: Say;
}

const QUIET: Options = { env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' }, stdin: 'ignore' };

/**
 * Installs those of the named Debian packages that are missing, without recommended ones. For packages without a service only.
 * Throws MissingError with the command to run when this is not Debian, when we are not root, or when apt fails.
 */
export async function ensureDebianPackage(names: readonly string[], reason: InstallReason): Promise<void> {
  const { why, estimateSeconds, say = sayOnStderr } = reason;
  if ((await missingPackages(names)).length === 0) return;
  const byHand = `apt-get install ${names.join(' ')}`;
  if ((await commandPath('apt-get')) === undefined) {
    throw new MissingError(
      `${names.join(', ')} (Debian's packages) are needed ${why}, and this system has no apt-get.`,
    );
  }
  if (process.getuid?.() !== 0)
    throw new MissingError(`${names.join(', ')} are needed ${why}: run \`sudo ${byHand}\`.`);
  // apt has locks of its own but gives up at once on one of them: two of us wait for each other here instead.
  await withLock(join(cacheDir(), 'apt'), async () => {
    const missing = await missingPackages(names);
    if (missing.length === 0) return;
    say(`installing ${missing.join(', ')} ${why}, about ${roughly(estimateSeconds)}`);
    await run('apt-get', ['update', '-q'], byHand, why);
    await run(
      'apt-get',
      ['install', '-q', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...missing],
      byHand,
      why,
    );
  });
}

async function missingPackages(names: readonly string[]): Promise<string[]> {
  const isInstalled = async (name: string) => {
    const found = await execa('dpkg-query', ['-W', '-f', '${Status}', name], { reject: false });
    return found.stdout === 'install ok installed';
  };
  const installed = await Promise.all(names.map(isInstalled));
  return names.filter((_, index) => installed[index] !== true);
}

/**
 * Downloads packages and unpacks them into the cache under `key`, without installing anything and without root; returns that
 * folder, laid out like `/`. With `dependencies`, also what they depend on and the system has not got.
 * Throws MissingError when this is not Debian or apt cannot get them.
 */
export async function unpackDebianPackages(
  key: string,
  packages: readonly string[],
  reason: InstallReason & { readonly dependencies: boolean },
): Promise<string> {
  const { why, estimateSeconds, say = sayOnStderr } = reason;
  const root = join(cacheDir(), 'debian', key);
  const byHand = `apt-get install ${packages.join(' ')}`;
  await makeOnce(root, async () => {
    if ((await commandPath('apt-get')) === undefined) {
      throw new MissingError(
        `${packages.join(', ')} (Debian's packages) are needed ${why}, and this system has no apt-get.`,
      );
    }
    say(`fetching ${packages.join(', ')} ${why}, about ${roughly(estimateSeconds)}, cached afterwards`);
    const unfinished = `${root}.${process.pid}.tmp`;
    const archives = join(unfinished, 'archives');
    const content = join(unfinished, 'content');
    await mkdir(join(archives, 'partial'), { recursive: true });
    await mkdir(content);
    try {
      await download(packages, archives, reason.dependencies, byHand, why);
      for (const file of (await readdir(archives)).filter((name) => name.endsWith('.deb'))) {
        await run('dpkg', ['-x', join(archives, file), content], byHand, why);
      }
      await rename(content, root);
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  });
  return root;
}

async function download(
  packages: readonly string[],
  archives: string,
  dependencies: boolean,
  byHand: string,
  why: string,
): Promise<void> {
  // apt runs as an ordinary user here, so it may neither lock nor write the system's own lists.
  const options = ['-q', '-o', 'Debug::NoLocking=1', '-o', `Dir::Cache::archives=${archives}/`];
  if (process.getuid?.() === 0) options.push('-o', 'APT::Sandbox::User=root');
  const fetch = (extra: readonly string[]) =>
    dependencies
      ? execa(
          'apt-get',
          [...options, ...extra, '-y', '--no-install-recommends', '--download-only', 'install', ...packages],
          QUIET,
        )
      : execa('apt-get', [...options, ...extra, 'download', ...packages], { ...QUIET, cwd: archives });
  try {
    await fetch([]);
  } catch {
    // The system's package lists are missing or out of date: fetch a copy of our own.
    const lists = join(cacheDir(), 'debian', 'lists');
    await mkdir(join(lists, 'partial'), { recursive: true });
    const ownLists = [
      '-o',
      `Dir::State::lists=${lists}`,
      '-o',
      'Dir::Cache::pkgcache=',
      '-o',
      'Dir::Cache::srcpkgcache=',
    ];
    await run('apt-get', [...options, ...ownLists, 'update'], byHand, why);
    await fetch(ownLists).catch((err: unknown) => {
      throw failed('apt-get', byHand, why, err);
    });
  }
}

async function run(command: string, args: readonly string[], byHand: string, why: string): Promise<void> {
  await execa(command, args, QUIET).catch((err: unknown) => {
    throw failed(command, byHand, why, err);
  });
}

function failed(command: string, byHand: string, why: string, err: unknown): MissingError {
  const stderr = err instanceof Error && 'stderr' in err ? String(err.stderr).trim() : String(err);
  const lastLine = stderr.split('\n').at(-1) ?? '';
  return new MissingError(
    `what is needed ${why} could not be installed (${command}: ${lastLine}): try \`sudo ${byHand}\`.`,
    {
      cause: err,
    },
  );
}
