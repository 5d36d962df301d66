// A real node beside a control plane: namespaces, containerd, kubelet and kube-proxy, in that order, and their end. Root on
// Linux only. The node's address must exist before the API server can listen on it, hence two steps: prepare, then start.
import { mkdir } from 'node:fs/promises';
import { ensurePauseImage } from '../images/pause.ts';
import { ensureDebianPackage } from '../install/apt.ts';
import { commandPath } from '../install/commandPath.ts';
import { MissingError, type Say } from '../install/progress.ts';
import { openAdminApi } from './adminApi.ts';
import { ensureBinaries } from './binaries.ts';
import { KUBERNETES_VERSION } from './binaryTable.ts';
import { cgroupOf, makeCgroup, removeCgroup } from './cgroups.ts';
import { ensureRuntimePrograms, importArchive, startContainerd, type RuntimePrograms } from './containerd.ts';
import type { ControlPlane, ControlPlaneOptions } from './controlPlane.ts';
import { startKubelet, startKubeProxy, type NodeProgramOptions } from './kubelet.ts';
import { startNamespace } from './nodeNamespace.ts';
import {
  connectNode,
  disconnectNode,
  findSlot,
  networkOfSlot,
  isSlotOfAnother,
  type NodeNetwork,
} from './nodeNetwork.ts';
import { NODE_PROGRAMS } from './nodePrograms.ts';
import { waitUntil } from './poll.ts';
import { endProcess, type Program } from './process.ts';
import { lastLines } from './readiness.ts';
import { readReservedSlots, recordPids, writeState, type ClusterState, type NodeState } from './state.ts';
import { join } from 'node:path';

/** A node that is ready to join: its namespaces are there, and the address at which the API server must listen. */
export interface PreparedNode {
  readonly controlPlane: Required<Pick<ControlPlaneOptions, 'address' | 'serviceCidr' | 'node'>>;
  readonly network: NodeNetwork;
  readonly namespacePid: number;
  readonly programs: RuntimePrograms;
}

// A cold disk reads 500 MB of programs first; on a warm machine it takes 7 s.
const NODE_READY_TIMEOUT_MS = 120_000;

/**
 * Installs what a node needs and makes its namespaces and network. Throws MissingError when this is not Linux, we are not
 * root, or something cannot be installed. What it made is in the state from then on, so that `down` finds it.
 */
export async function prepareNode(name: string, dir: string, say: Say): Promise<PreparedNode> {
  if (process.platform !== 'linux')
    throw new MissingError('a node runs on Linux only: use a cluster of your own with KUBECONFIG.');
  if (process.getuid?.() !== 0) throw new MissingError('a node needs root: run `sudo npm run cluster -- up --node`.');
  const programs = await ensureRuntimePrograms(say);
  await ensureNetworkTools(say);
  await mkdir(dir, { recursive: true, mode: 0o700 });

  const network = await findSlot(await readReservedSlots());
  const node: NodeState = { slot: network.slot, nodeName: `${name}-node`, podCidr: network.podCidr };
  const state = unfinishedState(name, network, node);
  await writeState(dir, state);
  const namespace = await startNamespace(dir, true);
  await writeState(dir, { ...state, pids: { node: namespace.pid } });
  await connectNode(network, namespace.pid, dir);
  return {
    controlPlane: { address: network.hostAddress, serviceCidr: network.serviceCidr, node },
    network,
    namespacePid: namespace.pid,
    programs,
  };
}

async function ensureNetworkTools(say: Say): Promise<void> {
  const wanted = { iptables: 'iptables', ip: 'iproute2' };
  const missing: string[] = [];
  for (const [command, debianPackage] of Object.entries(wanted)) {
    if ((await commandPath(command)) === undefined) missing.push(debianPackage);
  }
  if (missing.length > 0)
    await ensureDebianPackage(missing, { why: 'to give pods a network', estimateSeconds: 15, say });
}

/** What is known before the control plane has chosen its ports. */
function unfinishedState(name: string, network: NodeNetwork, node: NodeState): ClusterState {
  return {
    name,
    kubernetesVersion: KUBERNETES_VERSION,
    address: network.hostAddress,
    ports: { etcd: 0, etcdPeer: 0, apiserver: 0, controllerManager: 0, scheduler: 0 },
    serviceCidr: network.serviceCidr,
    adminToken: '',
    pids: {},
    node,
    isComplete: false,
  };
}

/** Starts the node's programs and waits until the node is Ready. Throws with kubelet's last words when it does not get there. */
export async function startNode(controlPlane: ControlPlane, prepared: PreparedNode, say: Say): Promise<void> {
  const { dir } = controlPlane;
  const { network, namespacePid, programs } = prepared;
  const binaries = await ensureBinaries(['kubelet', 'kube-proxy'], say);
  const cgroup = cgroupOf(network.slot);
  await makeCgroup(cgroup);

  const containerd = await startContainerd(dir, namespacePid, programs, network.podCidr, true);
  await recordPids(dir, { containerd: containerd.pid });
  await importArchive(namespacePid, programs, await ensurePauseImage());

  const { nodeName } = prepared.controlPlane.node;
  const options: NodeProgramOptions = { dir, namespacePid, nodeName, network, cgroup, outlivesParent: true };
  const kubelet = await startKubelet(binaries.kubelet, options);
  await recordPids(dir, { kubelet: kubelet.pid });
  const kubeProxy = await startKubeProxy(binaries['kube-proxy'], options);
  await recordPids(dir, { 'kube-proxy': kubeProxy.pid });
  await waitForReady(controlPlane, nodeName, { kubelet, 'kube-proxy': kubeProxy });
}

async function waitForReady(
  controlPlane: ControlPlane,
  nodeName: string,
  programs: Record<string, Program>,
): Promise<void> {
  const api = openAdminApi(controlPlane);
  const isReady = async () => {
    for (const [name, program] of Object.entries(programs)) {
      if (!program.isRunning()) throw new Error(`${name} ended while the node was starting`);
    }
    const node = (await api.read(`/api/v1/nodes/${nodeName}`)) as NodeObject | undefined;
    return node?.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  };
  try {
    await waitUntil(`node ${nodeName} Ready`, isReady, { timeoutMs: NODE_READY_TIMEOUT_MS, intervalMs: 200 });
  } catch (err) {
    const logs = await Promise.all(
      Object.keys(programs).map(
        async (name) => `${name}.log ends with:\n${await lastLines(join(controlPlane.dir, `${name}.log`))}`,
      ),
    );
    throw new Error(`${err instanceof Error ? err.message : String(err)}; ${logs.join('\n')}`, { cause: err });
  } finally {
    await api.close();
  }
}

interface NodeObject {
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Ends a node and everything that ran on it, and removes its interface and control groups. Safe to call again. */
export async function removeNode(dir: string, state: ClusterState, node: NodeState): Promise<void> {
  for (const name of NODE_PROGRAMS) {
    const pid = state.pids[name];
    if (pid !== undefined) await endProcess(pid, dir, 'SIGKILL');
  }
  if (await isSlotOfAnother(node.slot, dir)) return;
  await disconnectNode(networkOfSlot(node.slot).interfaceName);
  await removeCgroup(cgroupOf(node.slot));
}
