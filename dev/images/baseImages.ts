// Base images where no registry can be reached: a minimal Debian from debootstrap, and Python, Node and Redis on top of it.
// Each is named by what it is made of, so that a change of its recipe makes a new one and an unchanged one is made once.
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { cacheDir, makeOnce, withLock } from '../install/cacheDir.ts';
import { MissingError, sayOnStderr, type Say } from '../install/progress.ts';
import { buildIntoStore, ensureTools, isInStore } from './buildah.ts';

const SUITE = 'bookworm';
const NODE_VERSION = '24.21.0';

/** Images that can be had without a registry. The first two serve as `ARG BASE=` of a Dockerfile. */
export const BASE_IMAGES = ['base-python', 'base-node', 'redis'] as const;

/** One of those images. */
export type BaseImage = (typeof BASE_IMAGES)[number];

/**
 * Name, in buildah's store, of the base image, building it on first use. Throws MissingError without root, or when something
 * that it is made of cannot be fetched.
 */
export async function ensureBaseImage(name: BaseImage, say: Say = sayOnStderr): Promise<string> {
  await ensureTools(say);
  const recipe = join(import.meta.dirname, 'bases', `${name}.Dockerfile`);
  const hash = contentHash(await readFile(recipe, 'utf8'), SUITE, name === 'base-node' ? NODE_VERSION : '');
  const tag = `muster.local/${name}:${hash}`;
  await withLock(join(cacheDir(), 'images', name), async () => {
    if (await isInStore(tag)) return;
    const base = await ensureDebian(say);
    say(`building image ${name}, about ${name === 'base-python' ? 30 : 15} s, cached afterwards`);
    const context = await mkdtemp(join(tmpdir(), 'muster-image-'));
    try {
      if (name === 'base-node') await copyFile(await ensureNodeBinary(say), join(context, 'node'));
      await buildIntoStore({
        dockerfile: recipe,
        context,
        buildArgs: { BASE: base },
        tag,
        withHostCertificates: false,
      });
    } finally {
      await rm(context, { recursive: true, force: true });
    }
  });
  return tag;
}

/** A minimal Debian. The others stand on it, so that their common part is stored and loaded once. */
async function ensureDebian(say: Say): Promise<string> {
  const tag = `muster.local/debian:${SUITE}-1`;
  await withLock(join(cacheDir(), 'images', 'debian'), async () => {
    if (await isInStore(tag)) return;
    say('building a minimal Debian with debootstrap, about 40 s, cached afterwards');
    const folder = join(cacheDir(), 'images', `debian.${process.pid}.tmp`);
    const root = join(folder, 'root');
    await mkdir(root, { recursive: true });
    try {
      await debootstrap(root);
      // Packages installed in a build must not start their services: with chroot isolation that would be on this machine.
      await writeFile(join(root, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
      await rm(join(root, 'var/cache/apt/archives'), { recursive: true, force: true });
      await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY root /\nCMD ["/bin/bash"]\n');
      await buildIntoStore({
        dockerfile: join(folder, 'Dockerfile'),
        context: folder,
        tag,
        withHostCertificates: false,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return tag;
}

async function debootstrap(root: string): Promise<void> {
  const mirror = await systemMirror();
  await execa('debootstrap', ['--variant=minbase', SUITE, root, ...(mirror === undefined ? [] : [mirror])], {
    stdin: 'ignore',
    all: true,
  }).catch((err: unknown) => {
    const all = err instanceof Error && 'all' in err ? String(err.all) : String(err);
    throw new MissingError(`a Debian base image could not be made: ${all.trim().split('\n').at(-1) ?? ''}`, {
      cause: err,
    });
  });
}

/** The mirror this system installs from, when it is of the same release: behind a company's proxy no other may answer. */
async function systemMirror(): Promise<string | undefined> {
  const format = ['indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages'];
  const { stdout } = await execa('apt-get', format, { reject: false });
  return stdout
    .split('\n')
    .map((line) => line.split(' '))
    .find(([uri = '', codename]) => codename === SUITE && uri.startsWith('http'))?.[0];
}

/** Path of a Node binary for images, from the npm package that holds it (no install script has to run). */
async function ensureNodeBinary(say: Say): Promise<string> {
  const packageName = `node-linux-${process.arch === 'arm64' ? 'arm64' : 'x64'}`;
  const path = join(cacheDir(), 'bin', `node-for-images-v${NODE_VERSION}`, 'node');
  await makeOnce(path, async () => {
    say(`fetching Node ${NODE_VERSION} for images, about 20 s, cached afterwards`);
    const unfinished = `${path}.${process.pid}.tmp`;
    await mkdir(unfinished, { recursive: true });
    try {
      const flags = ['--prefix', unfinished, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund'];
      await execa('npm', ['install', ...flags, `${packageName}@${NODE_VERSION}`], { cwd: unfinished, stdin: 'ignore' });
      await rename(join(unfinished, 'node_modules', packageName, 'bin', 'node'), path);
    } catch (err) {
      throw new MissingError(`Node ${NODE_VERSION} for images could not be fetched: try \`npm view ${packageName}\`.`, {
        cause: err,
      });
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  });
  return path;
}

function contentHash(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 12);
}
