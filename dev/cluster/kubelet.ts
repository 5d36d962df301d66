// The two Kubernetes programs of a node, kubelet and kube-proxy: their settings and how they are started.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { CERTIFICATE_FILES } from './certificates.ts';
import { CONTAINERD_SOCKET } from './containerd.ts';
import { NODE_FILES } from './nodeCredentials.ts';
import { inNamespace } from './nodeNamespace.ts';
import type { NodeNetwork } from './nodeNetwork.ts';
import { startProgram, type Program } from './process.ts';

/** What both programs need to know. */
export interface NodeProgramOptions {
  readonly dir: string;
  readonly namespacePid: number;
  readonly nodeName: string;
  readonly network: NodeNetwork;
  readonly cgroup: string;
  readonly outlivesParent: boolean;
}

/** Starts kubelet; the node is usable once its Node object says Ready. */
export async function startKubelet(binary: string, options: NodeProgramOptions): Promise<Program> {
  const { dir, namespacePid, nodeName, network } = options;
  const configPath = join(dir, 'kubelet.yaml');
  const resolvPath = join(dir, 'resolv.conf');
  // This machine's own name servers are out of a pod's reach.
  await writeFile(resolvPath, '');
  await writeFile(configPath, stringify(kubeletConfig(options, resolvPath)));
  const args = [
    `--config=${configPath}`,
    `--kubeconfig=${join(dir, NODE_FILES.kubelet)}`,
    `--root-dir=${join(dir, 'kubelet')}`,
    `--cert-dir=${join(dir, 'kubelet-pki')}`,
    `--hostname-override=${nodeName}`,
    `--node-ip=${network.nodeAddress}`,
  ];
  return startProgram({
    ...inNamespace(namespacePid, binary, args),
    logPath: join(dir, 'kubelet.log'),
    outlivesParent: options.outlivesParent,
  });
}

function kubeletConfig({ dir, cgroup, network }: NodeProgramOptions, resolvPath: string): unknown {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: network.nodeAddress,
    readOnlyPort: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(dir, CERTIFICATE_FILES.authority) },
    },
    authorization: { mode: 'Webhook' },
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    resolvConf: resolvPath,
    // Nothing answers there, and at once: pods without DNS fail fast, and kubelet does not warn about every pod.
    clusterDNS: [network.nodeAddress],
    clusterDomain: 'cluster.local',
    maxPods: 200,
    volumePluginDir: join(dir, 'volume-plugins'),
    // Images are loaded by hand and could not be pulled again; a full disk is the machine's affair.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
    },
  };
}

/** Starts kube-proxy, which makes Service addresses work. It waits by itself until the Node object exists. */
export async function startKubeProxy(binary: string, options: NodeProgramOptions): Promise<Program> {
  const { dir, namespacePid, nodeName, network } = options;
  const args = [
    `--kubeconfig=${join(dir, NODE_FILES.kubeProxy)}`,
    '--proxy-mode=iptables',
    `--hostname-override=${nodeName}`,
    `--cluster-cidr=${network.podCidr}`,
    '--nodeport-addresses=primary',
    // These belong to the whole machine, and it refuses them to a process in namespaces.
    '--conntrack-max-per-core=0',
    '--conntrack-tcp-timeout-established=0s',
    '--conntrack-tcp-timeout-close-wait=0s',
    '--healthz-bind-address=127.0.0.1:10256',
    '--metrics-bind-address=127.0.0.1:10249',
  ];
  return startProgram({
    ...inNamespace(namespacePid, binary, args),
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    logPath: join(dir, 'kube-proxy.log'),
    outlivesParent: options.outlivesParent,
  });
}
