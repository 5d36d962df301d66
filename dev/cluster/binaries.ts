// Finds or builds the Go programs of a cluster. Built once per version into the cache; nothing is downloaded as a binary, so
// the Go module proxy is the only thing that must be reachable. Does not run any of them.
import { access, constants, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { cacheDir, makeOnce, pathExists } from '../install/cacheDir.ts';
import { MissingError, roughly, sayOnStderr, type Say } from '../install/progress.ts';
import { BINARIES, buildFlags, type Binary, type BinaryName } from './binaryTable.ts';

/**
 * Paths of the named programs, building those that are missing one after the other (two at once are no faster: each build
 * already uses every core). Throws MissingError when Go is needed and not there, or when a build fails.
 */
export async function ensureBinaries<Name extends BinaryName>(
  names: readonly Name[],
  say: Say = sayOnStderr,
): Promise<Record<Name, string>> {
  const paths: Partial<Record<Name, string>> = {};
  // The table's order, not the caller's: the API server first makes each of the others cheap.
  const inOrder = (Object.keys(BINARIES) as BinaryName[]).filter((name): name is Name =>
    (names as readonly string[]).includes(name),
  );
  for (const name of inOrder) paths[name] = await ensureBinary(name, say);
  return paths as Record<Name, string>;
}

/** Path of one program: from `$KUBEBUILDER_ASSETS` (envtest's convention) when it is there, else from the cache, else built. */
export async function ensureBinary(name: BinaryName, say: Say = sayOnStderr): Promise<string> {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets !== undefined && assets !== '') {
    const given = join(assets, name);
    if (await isExecutable(given)) return given;
  }
  const binary: Binary = BINARIES[name];
  const path = join(cacheDir(), 'bin', `${name}-${binary.version}`, name);
  await makeOnce(
    path,
    () => build(name, binary, path, say),
    () => say(`another process is building ${name} ${binary.version}: waiting for it`),
  );
  return path;
}

async function build(name: string, binary: Binary, path: string, say: Say): Promise<void> {
  const goVersion = await requireGo(`${name} ${binary.version}`);
  say(
    `building ${name} ${binary.version} from Go modules with ${goVersion}, about ${roughly(binary.seconds)} on 2 cores ` +
      `(less when Go has its parts already), cached afterwards`,
  );
  const startedMs = Date.now();
  await mkdir(join(path, '..'), { recursive: true });
  const unfinished = `${path}.${process.pid}.tmp`;
  try {
    await execa('go', ['build', ...buildFlags(binary), '-o', unfinished, binary.package], {
      cwd: join(import.meta.dirname, 'go', binary.module),
      env: { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' },
    });
    await rename(unfinished, path);
  } catch (err) {
    await rm(unfinished, { force: true });
    throw new MissingError(`${name} ${binary.version} could not be built: ${lastWords(err)}`, { cause: err });
  }
  say(`built ${name} in ${roughly((Date.now() - startedMs) / 1000)}`);
}

/** The version of Go, or MissingError. Older than 1.21 cannot fetch the newer one that go.mod asks for. */
async function requireGo(wantedFor: string): Promise<string> {
  const cure = 'install it from https://go.dev/dl, or with `apt-get install golang` where that gives 1.24 or newer';
  const found = await execa('go', ['env', 'GOVERSION'], { reject: false });
  if (found.failed) throw new MissingError(`Go 1.24 or newer is needed to build ${wantedFor}, once: ${cure}.`);
  const minor = Number(/^go1\.(\d+)/.exec(found.stdout)?.[1] ?? '99');
  if (minor < 21)
    throw new MissingError(`Go 1.24 or newer is needed to build ${wantedFor}; this is ${found.stdout}: ${cure}.`);
  return found.stdout;
}

function lastWords(err: unknown): string {
  const stderr = err instanceof Error && 'stderr' in err && typeof err.stderr === 'string' ? err.stderr.trim() : '';
  const lines = (stderr === '' ? String(err) : stderr).split('\n');
  return lines.slice(-3).join(' | ');
}

async function isExecutable(path: string): Promise<boolean> {
  if (!(await pathExists(path))) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
