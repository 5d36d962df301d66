// Builds images from Dockerfiles with buildah: no daemon, no registry. Its store is in the cache, not in the system's place,
// so that it can be deleted with the cache and meets nobody else's images.
import { mkdir, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa, type Options } from 'execa';
import { ensureDebianPackage } from '../install/apt.ts';
import { cacheDir, pathExists, withLock } from '../install/cacheDir.ts';
import { commandPath } from '../install/commandPath.ts';
import { MissingError, type Say } from '../install/progress.ts';

/** Installs buildah and debootstrap where they are missing. Throws MissingError without root, or not on Linux. */
export async function ensureTools(say?: Say): Promise<void> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new MissingError(
      'building images here needs root on Linux: run the command with sudo, or push images with docker.',
    );
  }
  const missing: string[] = [];
  for (const command of ['buildah', 'debootstrap']) {
    if ((await commandPath(command)) === undefined) missing.push(command);
  }
  if (missing.length === 0) return;
  await ensureDebianPackage(missing, {
    why: 'to build images',
    estimateSeconds: 30,
    ...(say === undefined ? {} : { say }),
  });
}

/** Runs buildah on the cache's own store. Throws execa's error, with everything the build printed. */
export async function buildah(args: readonly string[], options: Options = {}): Promise<string> {
  const store = join(cacheDir(), 'buildah');
  await mkdir(store, { recursive: true });
  const { stdout } = await execa('buildah', ['--root', join(store, 'root'), '--runroot', join(store, 'run'), ...args], {
    ...options,
    stdin: 'ignore',
    env: { BUILDAH_ISOLATION: 'chroot', STORAGE_DRIVER: await storageDriver(store) },
  });
  return String(stdout ?? '');
}

/** Overlay is several times quicker and smaller than vfs, but cannot lie on another overlay (a development container's disk). */
async function storageDriver(store: string): Promise<'overlay' | 'vfs'> {
  const OVERLAYFS_MAGIC = 0x794c7630;
  return (await statfs(store)).type === OVERLAYFS_MAGIC ? 'vfs' : 'overlay';
}

/** One image to build. */
export interface BuildRequest {
  /** Path of the Dockerfile. */
  readonly dockerfile: string;
  /** Folder that COPY reads from. */
  readonly context: string;
  readonly buildArgs?: Readonly<Record<string, string>>;
  /** Name in buildah's store, for example `muster-operator:dev`. */
  readonly tag: string;
  /** False for images that install the certificates themselves, which they cannot do over ours. Default true. */
  readonly withHostCertificates?: boolean;
}

/** Builds an image into the store; steps that did not change since an earlier build are taken from it. Returns its id. */
export async function buildIntoStore(request: BuildRequest): Promise<string> {
  const { dockerfile, context, buildArgs = {}, tag, withHostCertificates = true } = request;
  const args = Object.entries(buildArgs).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
  const mounts = (await hostMounts(withHostCertificates)).flatMap((mount) => ['--volume', mount]);
  // Two builds at once of the same layers have been seen to spoil each other's.
  return withLock(join(cacheDir(), 'buildah', 'build'), async () => {
    try {
      await buildah(
        [
          'build',
          '--layers',
          '--force-rm',
          '--pull-never',
          '--file',
          dockerfile,
          '--tag',
          tag,
          ...args,
          ...mounts,
          context,
        ],
        { all: true },
      );
    } catch (err) {
      // Not as `cause`: it carries the whole output three times over, and a test runner prints all of it.
      throw new Error(`building ${tag} from ${dockerfile} failed:\n${lastOutput(err)}`);
    }
    return (await buildah(['inspect', '--type', 'image', '--format', '{{.FromImageID}}', tag])).trim();
  });
}

/** Whether the store has an image of that name. */
export async function isInStore(tag: string): Promise<boolean> {
  return buildah(['inspect', '--type', 'image', '--format', '{{.FromImageID}}', tag]).then(
    () => true,
    () => false,
  );
}

/**
 * What a build step may use of this machine, without it becoming part of the image: its certificates (a company's proxy signs
 * with its own) and which package index pip is to ask.
 */
async function hostMounts(withCertificates: boolean): Promise<string[]> {
  const mounts: string[] = [];
  if (withCertificates && (await pathExists('/etc/ssl/certs/ca-certificates.crt')))
    mounts.push('/etc/ssl/certs:/etc/ssl/certs:ro');
  const pip = ['PIP_INDEX_URL', 'PIP_EXTRA_INDEX_URL', 'PIP_TRUSTED_HOST'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [`${name.slice('PIP_'.length).toLowerCase().replaceAll('_', '-')} = ${value}`];
  });
  if (pip.length > 0) {
    const path = join(cacheDir(), 'buildah', 'pip.conf');
    await writeFile(path, ['[global]', ...pip, ''].join('\n'));
    mounts.push(`${path}:/etc/pip.conf:ro`);
  }
  return mounts;
}

function lastOutput(err: unknown): string {
  const all = err instanceof Error && 'all' in err && typeof err.all === 'string' ? err.all : String(err);
  return all.trim().split('\n').slice(-15).join('\n');
}
