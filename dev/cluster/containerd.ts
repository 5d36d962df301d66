// The container runtime of a node: finding it, its configuration, starting it, and giving it images.
import { mkdir, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { PAUSE_IMAGE } from '../images/pause.ts';
import { unpackDebianPackages } from '../install/apt.ts';
import { pathExists } from '../install/cacheDir.ts';
import { commandPath } from '../install/commandPath.ts';
import { unpackedBinDir } from '../install/unpackedCommands.ts';
import type { Say } from '../install/progress.ts';
import { inNamespace } from './nodeNamespace.ts';
import { startProgram, type Program } from './process.ts';
import { waitUntilReady } from './readiness.ts';

/** containerd's socket as processes inside the node's namespaces see it. */
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

const COMMANDS = ['containerd', 'containerd-shim-runc-v2', 'ctr', 'runc'];
const CNI_FOLDERS = ['/usr/lib/cni', '/opt/cni/bin', '/usr/libexec/cni'];

/** Where the runtime's programs are. */
export interface RuntimePrograms {
  /** Folder with containerd, its shim, ctr and runc. First on containerd's PATH. */
  readonly binDir: string;
  /** Folder with the CNI plugins bridge, host-local and portmap. */
  readonly cniDir: string;
}

/**
 * The runtime installed on this system if it is whole, else Debian's, unpacked into the cache: installing that package would
 * start a containerd of the system's own. Throws MissingError where neither can be had.
 */
export async function ensureRuntimePrograms(say: Say): Promise<RuntimePrograms> {
  const installed = await Promise.all(COMMANDS.map((command) => commandPath(command)));
  const containerd = installed[0];
  const cniDir = await findCniDir(CNI_FOLDERS);
  if (containerd !== undefined && cniDir !== undefined && !installed.includes(undefined)) {
    return { binDir: dirname(containerd), cniDir };
  }
  const root = await unpackDebianPackages('containerd', ['containerd', 'runc', 'containernetworking-plugins'], {
    why: 'to run containers',
    estimateSeconds: 30,
    dependencies: true,
    say,
  });
  return {
    binDir: await unpackedBinDir(root),
    cniDir: (await findCniDir([join(root, 'usr/lib/cni'), ...CNI_FOLDERS])) ?? '',
  };
}

async function findCniDir(folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) if (await pathExists(join(folder, 'bridge'))) return folder;
  return undefined;
}

/** Starts containerd inside the node's namespaces, and returns once it answers. */
export async function startContainerd(
  dir: string,
  namespacePid: number,
  programs: RuntimePrograms,
  podCidr: string,
  outlivesParent: boolean,
): Promise<Program> {
  const configPath = join(dir, 'containerd.toml');
  const cniConfDir = join(dir, 'cni.d');
  await mkdir(cniConfDir, { recursive: true });
  await writeFile(join(cniConfDir, '10-muster.conflist'), JSON.stringify(cniConfig(podCidr), undefined, 2));
  await writeFile(configPath, containerdConfig(dir, programs.cniDir, cniConfDir, await snapshotter(dir)));
  const logPath = join(dir, 'containerd.log');
  const program = await startProgram({
    ...inNamespace(namespacePid, join(programs.binDir, 'containerd'), ['--config', configPath]),
    env: { PATH: `${programs.binDir}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    logPath,
    outlivesParent,
  });
  const answers = async () => (await ctr(namespacePid, programs, ['version'])).exitCode === 0;
  await waitUntilReady('containerd', program, logPath, answers, 30_000);
  return program;
}

/** Loads a docker-archive into the node's image store. Throws with containerd's words when it is refused. */
export async function importArchive(
  namespacePid: number,
  programs: RuntimePrograms,
  archivePath: string,
): Promise<void> {
  const done = await ctr(namespacePid, programs, ['images', 'import', archivePath]);
  if (done.exitCode !== 0) throw new Error(`importing ${archivePath} into the node: ${done.stderr}`);
}

async function ctr(namespacePid: number, programs: RuntimePrograms, args: readonly string[]) {
  const inside = inNamespace(namespacePid, join(programs.binDir, 'ctr'), [
    ...['--address', CONTAINERD_SOCKET, '--namespace', 'k8s.io'],
    ...args,
  ]);
  return execa(inside.command, inside.args, { reject: false });
}

/** Overlay cannot lie on overlay, which is what a development container's disk is. */
async function snapshotter(dir: string): Promise<'overlayfs' | 'native'> {
  const OVERLAYFS_MAGIC = 0x794c7630;
  return (await statfs(dir)).type === OVERLAYFS_MAGIC ? 'native' : 'overlayfs';
}

function containerdConfig(dir: string, cniDir: string, cniConfDir: string, snapshotterName: string): string {
  const text = (value: string) => JSON.stringify(value);
  return `version = 2
root = ${text(join(dir, 'containerd'))}
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[grpc]
  address = ${text(CONTAINERD_SOCKET)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${text(PAUSE_IMAGE)}
  stream_server_address = "127.0.0.1"
  # Where CAP_SYS_RESOURCE is withheld every sandbox would fail with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = ${text(snapshotterName)}
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${text(cniDir)}
    conf_dir = ${text(cniConfDir)}
`;
}

function cniConfig(podCidr: string): unknown {
  return {
    cniVersion: '0.4.0',
    name: 'muster',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        // Not masqueraded: this machine has a route to the pods, and sees which pod talks to it.
        ipMasq: false,
        ipam: { type: 'host-local', ranges: [[{ subnet: podCidr }]], routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}
