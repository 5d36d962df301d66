// Programs that run out of an unpacked Debian package: each gets a small script that tells it where its libraries are.
import { chmod, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathExists } from './cacheDir.ts';

const BIN_FOLDERS = ['usr/bin', 'usr/sbin', 'bin', 'sbin'];

/**
 * Folder of scripts that run the programs unpacked in `root` with their own libraries. The script becomes the program
 * (exec), so process ids and signals are the program's. Works from anywhere as long as `root` stays where it is.
 */
export async function unpackedBinDir(root: string): Promise<string> {
  const wrappers = join(root, 'run');
  if (await pathExists(wrappers)) return wrappers;
  const libraries = await libraryFolders(root);
  const unfinished = `${wrappers}.${process.pid}.tmp`;
  await mkdir(unfinished);
  for (const folder of BIN_FOLDERS) {
    for (const command of await readdir(join(root, folder)).catch(() => [])) {
      const script = join(unfinished, command);
      const path = [...libraries, '${LD_LIBRARY_PATH:-}'].join(':');
      await writeFile(script, `#!/bin/sh\nLD_LIBRARY_PATH="${path}" exec "${join(root, folder, command)}" "$@"\n`);
      await chmod(script, 0o755);
    }
  }
  await rename(unfinished, wrappers).catch(async (err: unknown) => {
    // Another process was first; its scripts are the same.
    if (!(await pathExists(wrappers))) throw err;
  });
  return wrappers;
}

async function libraryFolders(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ['usr/lib', 'lib']) {
    const names = await readdir(join(root, folder)).catch(() => []);
    found.push(...names.filter((name) => /-linux-gnu/.test(name)).map((name) => join(root, folder, name)));
  }
  return found;
}
