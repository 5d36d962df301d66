// The command lines of the control plane, as a pure function of where it runs. Each flag that is not the plain default
// has its reason here.
import { join } from 'node:path';
import { CERTIFICATE_FILES } from './certificates.ts';
import type { ControlPlanePorts } from './state.ts';

/** The programs of a control plane, in the order in which they are started. */
export const COMPONENTS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;

/** One program of the control plane. */
export type ComponentName = (typeof COMPONENTS)[number];

/** Where a control plane runs. `podCidr` is set when it has a node. */
export interface ControlPlaneLayout {
  readonly dir: string;
  readonly address: string;
  readonly ports: ControlPlanePorts;
  readonly serviceCidr: string;
  readonly podCidr?: string | undefined;
}

/** Files in the cluster's folder, beside the certificates. */
export const FILES = {
  tokens: 'tokens.csv',
  adminKubeconfig: 'kubeconfig',
  schedulerKubeconfig: 'kube-scheduler.kubeconfig',
} as const;

/** URL by which clients reach the API server. */
export function serverUrl(layout: ControlPlaneLayout): string {
  return `https://${layout.address}:${layout.ports.apiserver}`;
}

/** URL that answers 200 once the component works. */
export function healthUrl(name: ComponentName, layout: ControlPlaneLayout): string {
  switch (name) {
    case 'etcd':
      return `http://127.0.0.1:${layout.ports.etcd}/health`;
    case 'kube-apiserver':
      return `${serverUrl(layout)}/readyz`;
    case 'kube-controller-manager':
      return `https://127.0.0.1:${layout.ports.controllerManager}/healthz`;
    case 'kube-scheduler':
      return `https://127.0.0.1:${layout.ports.scheduler}/healthz`;
  }
}

/** Arguments of one component. */
export function componentArgs(name: ComponentName, layout: ControlPlaneLayout): string[] {
  switch (name) {
    case 'etcd':
      return etcdArgs(layout);
    case 'kube-apiserver':
      return apiserverArgs(layout);
    case 'kube-controller-manager':
      return controllerManagerArgs(layout);
    case 'kube-scheduler':
      return schedulerArgs(layout);
  }
}

function etcdArgs({ dir, ports }: ControlPlaneLayout): string[] {
  const client = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    `--data-dir=${join(dir, 'etcd')}`,
    // Data then survive a killed process (the kernel has them) but not a power cut, and every write is some ms quicker.
    '--unsafe-no-fsync',
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    '--log-level=warn',
  ];
}

function apiserverArgs({ dir, address, ports, serviceCidr, podCidr }: ControlPlaneLayout): string[] {
  const file = (name: string) => join(dir, name);
  return [
    `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
    `--bind-address=${address}`,
    `--advertise-address=${address}`,
    `--secure-port=${ports.apiserver}`,
    `--cert-dir=${dir}`,
    `--tls-cert-file=${file(CERTIFICATE_FILES.server)}`,
    `--tls-private-key-file=${file(CERTIFICATE_FILES.serverKey)}`,
    `--client-ca-file=${file(CERTIFICATE_FILES.authority)}`,
    `--kubelet-client-certificate=${file(CERTIFICATE_FILES.kubeletClient)}`,
    `--kubelet-client-key=${file(CERTIFICATE_FILES.kubeletClientKey)}`,
    // The node's name is in no DNS: without this `kubectl logs` fails with "no such host".
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-key-file=${file(CERTIFICATE_FILES.serviceAccountKey)}`,
    `--service-account-signing-key-file=${file(CERTIFICATE_FILES.serviceAccountKey)}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--token-auth-file=${file(FILES.tokens)}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--service-cluster-ip-range=${serviceCidr}`,
    '--allow-privileged',
    '--profiling=false',
    // Without a node nobody asks for the endpoints of the `kubernetes` service, and a loopback address there is refused.
    ...(podCidr === undefined ? ['--endpoint-reconciler-type=none'] : []),
  ];
}

function controllerManagerArgs({ dir, ports, podCidr }: ControlPlaneLayout): string[] {
  const file = (name: string) => join(dir, name);
  return [
    `--kubeconfig=${file(FILES.adminKubeconfig)}`,
    `--service-account-private-key-file=${file(CERTIFICATE_FILES.serviceAccountKey)}`,
    // Becomes kube-root-ca.crt in every namespace; without it pods cannot verify the API server.
    `--root-ca-file=${file(CERTIFICATE_FILES.authority)}`,
    ...localHealthArgs(dir, ports.controllerManager),
    // A second one never runs, and an election would cost seconds at each restart.
    '--leader-elect=false',
    '--profiling=false',
    ...(podCidr === undefined ? [] : [`--cluster-cidr=${podCidr}`, '--allocate-node-cidrs=false']),
  ];
}

function schedulerArgs({ dir, ports }: ControlPlaneLayout): string[] {
  return [
    `--kubeconfig=${join(dir, FILES.schedulerKubeconfig)}`,
    ...localHealthArgs(dir, ports.scheduler),
    '--leader-elect=false',
    '--profiling=false',
  ];
}

/** Health on loopback, with the API server's certificate: making one of its own costs each program a tenth of a second. */
function localHealthArgs(dir: string, port: number): string[] {
  return [
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    `--tls-cert-file=${join(dir, CERTIFICATE_FILES.server)}`,
    `--tls-private-key-file=${join(dir, CERTIFICATE_FILES.serverKey)}`,
  ];
}
