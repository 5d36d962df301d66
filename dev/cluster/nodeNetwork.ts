// The wire between this machine and a node, and which addresses it uses. All of them are private and reachable from this
// machine only; nothing is forwarded to other networks, and this machine's own iptables and sysctls are not touched.
import { execa } from 'execa';
import { MissingError } from '../install/progress.ts';
import { inNamespace, runInNamespace } from './nodeNamespace.ts';

/** Addresses of one cluster with a node. `slot` is 1 to 250. */
export interface NodeNetwork {
  readonly slot: number;
  /** Name of this machine's end of the wire. */
  readonly interfaceName: string;
  /** This machine, as the node and its pods see it: the API server listens there. */
  readonly hostAddress: string;
  readonly nodeAddress: string;
  readonly podCidr: string;
  readonly serviceCidr: string;
}

/** The addresses that belong to a slot. */
export function networkOfSlot(slot: number): NodeNetwork {
  return {
    slot,
    interfaceName: `mstr${slot}`,
    hostAddress: `10.210.${slot}.1`,
    nodeAddress: `10.210.${slot}.2`,
    podCidr: `10.211.${slot}.0/24`,
    serviceCidr: `10.212.${slot}.0/24`,
  };
}

/** The first slot whose addresses and interface nothing on this machine uses, and no recorded cluster (`reserved`) will. */
export async function findSlot(reserved: ReadonlySet<number>): Promise<NodeNetwork> {
  const { stdout: routes } = await execa('ip', ['-4', 'route', 'show', 'table', 'all']);
  const { stdout: links } = await execa('ip', ['-o', 'link', 'show']);
  for (let slot = 1; slot <= 250; slot++) {
    const isTaken =
      reserved.has(slot) ||
      new RegExp(`\\b10\\.21[012]\\.${slot}\\.`).test(routes) ||
      new RegExp(`\\bmstr${slot}[@:]`).test(links);
    if (!isTaken) return networkOfSlot(slot);
  }
  throw new MissingError(
    'all 250 networks for clusters with a node are in use: end one with `npm run cluster -- down`.',
  );
}

/**
 * Whether another cluster than the one in `dir` has the slot now. After a reboot a forgotten cluster's slot may
 * be another's by now, which `down` of the forgotten one must not take apart.
 */
export async function isSlotOfAnother(slot: number, dir: string): Promise<boolean> {
  const link = await execa('ip', ['link', 'show', networkOfSlot(slot).interfaceName], { reject: false });
  return !link.failed && !link.stdout.includes(`alias ${dir}`);
}

/** Lays the wire into the namespaces held by process `pid`, and the routes by which this machine reaches pods and services. */
export async function connectNode(network: NodeNetwork, pid: number, dir: string): Promise<void> {
  const { interfaceName, hostAddress, nodeAddress, podCidr, serviceCidr } = network;
  await ip(['link', 'add', interfaceName, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
  await ip(['link', 'set', interfaceName, 'alias', dir]);
  await ip(['address', 'add', `${hostAddress}/30`, 'dev', interfaceName]);
  await ip(['link', 'set', interfaceName, 'up']);
  await runInNamespace(pid, 'ip', ['link', 'set', 'lo', 'up']);
  await runInNamespace(pid, 'ip', ['address', 'add', `${nodeAddress}/30`, 'dev', 'eth0']);
  await runInNamespace(pid, 'ip', ['link', 'set', 'eth0', 'up']);
  await runInNamespace(pid, 'ip', ['route', 'add', 'default', 'via', hostAddress]);
  await ip(['route', 'add', podCidr, 'via', nodeAddress, 'dev', interfaceName]);
  await ip(['route', 'add', serviceCidr, 'via', nodeAddress, 'dev', interfaceName]);
  await allowForwarding(pid);
}

/** Inside only: this machine's own settings stay as they are. */
async function allowForwarding(pid: number): Promise<void> {
  await runInNamespace(pid, 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
  // Without this a pod's connection to a Service whose pod is on the same bridge gets its answer from an unknown address.
  const bridgeFilter = 'test -e /proc/sys/net/bridge/bridge-nf-call-iptables || modprobe br_netfilter; ';
  const turnOn = inNamespace(pid, 'sh', [
    '-c',
    `${bridgeFilter} echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables`,
  ]);
  const done = await execa(turnOn.command, turnOn.args, { reject: false });
  if (done.failed) {
    throw new MissingError(
      'the kernel module br_netfilter is needed for Services to work: run `modprobe br_netfilter`.',
    );
  }
}

/** Takes the wire away, if it is still there; its routes go with it. */
export async function disconnectNode(interfaceName: string): Promise<void> {
  await execa('ip', ['link', 'delete', interfaceName], { reject: false });
}

async function ip(args: readonly string[]): Promise<void> {
  await execa('ip', args);
}
