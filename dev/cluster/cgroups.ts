// The part of the cgroup tree that belongs to one node. Of its own, because a kubelet removes every pod's group that it does
// not know, and would remove those of another cluster's pods (and with them their limits).
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathExists } from '../install/cacheDir.ts';
import { waitUntil } from './poll.ts';

const MOUNT = '/sys/fs/cgroup';

/** The group of a node, as kubelet's `cgroupRoot` wants it. */
export function cgroupOf(slot: number): string {
  return `/muster-${slot}`;
}

/** Makes the node's group in every hierarchy (cgroup v1) or in the one (v2). */
export async function makeCgroup(group: string): Promise<void> {
  const isV2 = await pathExists(join(MOUNT, 'cgroup.controllers'));
  for (const hierarchy of await hierarchies()) {
    const folder = join(hierarchy, group);
    await mkdir(folder, { recursive: true });
    if (isV2) {
      await enableControllers(hierarchy);
      await enableControllers(folder);
    }
    // A new cpuset group of v1 has no processors and no memory, and nothing can be put into it.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const all = await readFile(join(hierarchy, file), 'utf8').catch(() => undefined);
      if (!isV2 && all !== undefined) await writeFile(join(folder, file), all);
    }
    await giveWeight(folder, isV2);
  }
}

/**
 * The weight of all processors, as the pods' group of a real node has. With the weight of one process, which is the
 * default, every pod together would get no more of a busy machine than one program beside them.
 */
async function giveWeight(folder: string, isV2: boolean): Promise<void> {
  const file = join(folder, isV2 ? 'cpu.weight' : 'cpu.shares');
  if (await pathExists(file)) await writeFile(file, String((isV2 ? 100 : 1024) * availableParallelism()));
}

/** Removes the node's group and what is below it. The processes in it must have been ended; they may take a moment to go. */
export async function removeCgroup(group: string): Promise<void> {
  for (const hierarchy of await hierarchies()) {
    const folder = join(hierarchy, group);
    if (!(await pathExists(folder))) continue;
    await waitUntil(
      `control group ${folder} gone`,
      async () => {
        await removeTree(folder);
        return !(await pathExists(folder));
      },
      { timeoutMs: 10_000, intervalMs: 100 },
    );
  }
}

async function removeTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(folder, entry.name));
  // Only the folders can be removed, and only while no process is in them: `waitUntil` comes again.
  await rmdir(folder).catch(() => undefined);
}

/** Roots of the hierarchies: the folders under the mount point (v1), or the mount point itself (v2). */
async function hierarchies(): Promise<string[]> {
  if (await pathExists(join(MOUNT, 'cgroup.controllers'))) return [MOUNT];
  const entries = await readdir(MOUNT, { withFileTypes: true }).catch(() => []);
  // Symbolic links such as cpu → cpu,cpuacct are the same folder twice. "unified", the v2 tree beside v1, is one of them:
  // runc puts pods there too.
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(MOUNT, entry.name));
}

async function enableControllers(folder: string): Promise<void> {
  const available = (await readFile(join(folder, 'cgroup.controllers'), 'utf8').catch(() => '')).trim();
  for (const controller of available.split(' ').filter((name) => name !== '')) {
    // One that cannot be enabled (threads, real-time groups) must not keep the others from it.
    await writeFile(join(folder, 'cgroup.subtree_control'), `+${controller}`).catch(() => undefined);
  }
}
