// The namespaces in which a node runs: network, mounts and processes of its own, held open by one pause process.
//
//   this machine                       │ the node's namespaces
//   API server at 10.210.N.1 ── mstrN ─┼─ eth0 10.210.N.2 ── kubelet, containerd, kube-proxy ── bridge ── pods 10.211.N.0/24
//
// Ending the pause process makes the kernel end everything inside and forget its mounts, bridges and iptables rules: `down`
// cannot leave any behind, however the node died, and two nodes on one machine cannot overwrite each other's rules.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { ensurePause } from '../images/pause.ts';
import { waitUntil } from './poll.ts';
import { startProgram, type Program } from './process.ts';

/** The command line that runs `command` inside the namespaces held by process `pid`. */
export function inNamespace(
  pid: number,
  command: string,
  args: readonly string[],
): { command: string; args: string[] } {
  const namespace = (name: string) => `/proc/${pid}/ns/${name}`;
  return {
    command: 'nsenter',
    args: [
      `--net=${namespace('net')}`,
      `--mount=${namespace('mnt')}`,
      // unshare(1) stays outside of the process namespace that it makes: its children are inside.
      `--pid=${namespace('pid_for_children')}`,
      '--',
      command,
      ...args,
    ],
  };
}

/** Runs a command inside and waits for its end; throws with its stderr when it fails. */
export async function runInNamespace(pid: number, command: string, args: readonly string[]): Promise<void> {
  const inside = inNamespace(pid, command, args);
  await execa(inside.command, inside.args);
}

/** Makes the namespaces, with the private mounts that keep the node's traces off this machine's disk. */
export async function startNamespace(dir: string, outlivesParent: boolean): Promise<Program> {
  const pause = await ensurePause();
  const program = await startProgram({
    command: 'unshare',
    args: [
      '--net',
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--propagation',
      'private',
      pause,
      dir,
    ],
    logPath: join(dir, 'node.log'),
    outlivesParent,
  });
  // `unshare` is ready once its child runs: before that the namespaces are still this machine's own.
  const hasChild = async () => {
    if (!program.isRunning())
      throw new Error('a node needs the right to make namespaces (root, and not in a container)');
    const inside = inNamespace(program.pid, 'cat', ['/proc/1/cmdline']);
    const first = await execa(inside.command, inside.args, { reject: false });
    return first.stdout.includes(dir);
  };
  await waitUntil('namespaces of the node', hasChild, { timeoutMs: 10_000 });
  await makeMounts(dir, program.pid);
  return program;
}

/** Kubelet and CNI have folders outside of their own that cannot be configured; inside, they lead into the cluster's folder. */
async function makeMounts(dir: string, pid: number): Promise<void> {
  for (const [name, target] of [
    ['log', '/var/log'],
    ['cni', '/var/lib/cni'],
  ] as const) {
    const source = join(dir, 'private', name);
    await mkdir(source, { recursive: true });
    await mkdir(target, { recursive: true });
    await runInNamespace(pid, 'mount', ['--bind', source, target]);
  }
  // Shim sockets, the iptables lock and the pods' network namespaces live there.
  await runInNamespace(pid, 'mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run']);
  await hideKernelSettings(dir, pid);
}

// Kubelet sets these for the whole machine (it would reboot after a kernel panic). It leaves them alone when they read as
// it wants them, so it is shown files that do.
const SETTINGS_KUBELET_WANTS = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

async function hideKernelSettings(dir: string, pid: number): Promise<void> {
  const folder = join(dir, 'private', 'sysctl');
  await mkdir(folder, { recursive: true });
  for (const [setting, value] of Object.entries(SETTINGS_KUBELET_WANTS)) {
    const file = join(folder, setting.replaceAll('/', '.'));
    await writeFile(file, `${value}\n`);
    await runInNamespace(pid, 'mount', ['--bind', file, join('/proc/sys', setting)]);
  }
}
