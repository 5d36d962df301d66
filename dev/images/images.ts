// Images for a cluster with a node: built, written as an archive, and loaded into the node's own store. With a cluster of the
// user's own (`--context`) images come from a registry that it can reach: push them there with docker.
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureRuntimePrograms, importArchive } from '../cluster/containerd.ts';
import type { ClusterState } from '../cluster/state.ts';
import { cacheDir, makeOnce } from '../install/cacheDir.ts';
import { MissingError, sayOnStderr, type Say } from '../install/progress.ts';
import { ensureBaseImage, type BaseImage } from './baseImages.ts';
import { buildah, buildIntoStore, ensureTools, type BuildRequest } from './buildah.ts';

/** An image that a node can load. */
export interface BuiltImage {
  /** Name for a pod's `image:`; with `imagePullPolicy: IfNotPresent` or `Never`. */
  readonly tag: string;
  /** Path of the docker-archive. */
  readonly archivePath: string;
}

/** Builds the image that a Dockerfile describes. Throws with the last lines of the build. */
export async function buildImage(request: BuildRequest, say: Say = sayOnStderr): Promise<BuiltImage> {
  await ensureTools(say);
  return writeArchive(request.tag, await buildIntoStore(request));
}

/** A base image as an archive that a node can load, under the plain name `muster.local/<name>:dev`. */
export async function baseImageArchive(name: BaseImage, say: Say = sayOnStderr): Promise<BuiltImage> {
  const stored = await ensureBaseImage(name, say);
  const id = (await buildah(['inspect', '--type', 'image', '--format', '{{.FromImageID}}', stored])).trim();
  return writeArchive(`muster.local/${name}:dev`, id);
}

async function writeArchive(tag: string, id: string): Promise<BuiltImage> {
  const folder = join(cacheDir(), 'images', 'archives');
  const prefix = fileName(tag);
  const archivePath = join(folder, `${prefix}-${id.slice(0, 12)}.tar`);
  await makeOnce(archivePath, async () => {
    await mkdir(folder, { recursive: true });
    const unfinished = `${archivePath}.${process.pid}.tmp`;
    await buildah(['push', '--quiet', id, `docker-archive:${unfinished}:${tag}`]);
    // Archives are big: an image's earlier ones go when a new one is there.
    for (const name of await readdir(folder)) {
      if (name.startsWith(`${prefix}-`) && name.endsWith('.tar')) await rm(join(folder, name), { force: true });
    }
    await rename(unfinished, archivePath);
  });
  return { tag, archivePath };
}

/**
 * Loads an image into the node of a cluster started by `up --node`; one that is there already is not loaded again (loading
 * takes seconds). Throws MissingError when the cluster has no node.
 */
export async function importImage(
  cluster: { readonly dir: string; readonly state: ClusterState },
  image: BuiltImage,
  say: Say = sayOnStderr,
): Promise<void> {
  const namespacePid = cluster.state.pids['node'];
  if (namespacePid === undefined) {
    throw new MissingError(`cluster "${cluster.state.name}" has no node: run \`npm run cluster -- up --node\`.`);
  }
  // What the node holds under this name. The node never deletes images, and the note goes with the cluster's folder.
  const note = join(cluster.dir, 'images', fileName(image.tag));
  if ((await readFile(note, 'utf8').catch(() => '')) === image.archivePath) return;
  await importArchive(namespacePid, await ensureRuntimePrograms(say), image.archivePath);
  await mkdir(join(cluster.dir, 'images'), { recursive: true });
  await writeFile(note, image.archivePath);
}

function fileName(tag: string): string {
  return tag.replaceAll(/[^a-z0-9.-]/g, '_');
}
