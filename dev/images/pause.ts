// The pause program and its image. Built here because a node without a registry has nowhere to fetch it from; the image is
// put together by hand (one file, one layer), so that a node needs no image builder.
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { cacheDir, makeOnce } from '../install/cacheDir.ts';
import { MissingError } from '../install/progress.ts';

/** Name under which nodes know the pause image. */
export const PAUSE_IMAGE = 'muster.local/pause:1';

/** Path of the pause program, built on first use (a second or two). Throws MissingError without Go. */
export async function ensurePause(): Promise<string> {
  const path = join(cacheDir(), 'bin', 'pause-1', 'pause');
  await makeOnce(path, async () => {
    const unfinished = `${path}.${process.pid}.tmp`;
    await mkdir(join(path, '..'), { recursive: true });
    await execa(
      'go',
      ['build', '-trimpath', '-ldflags', '-s -w', '-o', unfinished, join(import.meta.dirname, 'pause', 'pause.go')],
      {
        env: { CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off' },
      },
    ).catch((err: unknown) => {
      throw new MissingError(
        'Go 1.24 or newer is needed to build the pause program: install it from https://go.dev/dl.',
        { cause: err },
      );
    });
    await rename(unfinished, path);
  });
  return path;
}

/** Path of a docker-archive with the pause image. */
export async function ensurePauseImage(): Promise<string> {
  const program = await ensurePause();
  const path = join(cacheDir(), 'images', 'pause-1.tar');
  await makeOnce(path, async () => {
    const folder = `${path}.${process.pid}.tmp`;
    await mkdir(folder, { recursive: true });
    try {
      await copyFile(program, join(folder, 'pause'));
      await execa('tar', ['-cf', 'layer.tar', '--owner=0', '--group=0', '--mtime=@0', 'pause'], { cwd: folder });
      const layer = createHash('sha256')
        .update(await readFile(join(folder, 'layer.tar')))
        .digest('hex');
      await writeFile(join(folder, 'config.json'), JSON.stringify(imageConfig(layer)));
      const manifest = [{ Config: 'config.json', RepoTags: [PAUSE_IMAGE], Layers: ['layer.tar'] }];
      await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
      await execa('tar', ['-cf', 'image.tar', 'manifest.json', 'config.json', 'layer.tar'], { cwd: folder });
      await rename(join(folder, 'image.tar'), path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return path;
}

function imageConfig(layerDigest: string): unknown {
  return {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Entrypoint: ['/pause'], User: '65535:65535' },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
  };
}
