// A real Kubernetes control plane on this machine, without root: etcd, API server, controller manager and scheduler, each
// a child process. Nothing else may be ended or read here than what was started here; nodes are node.ts's affair.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeNodeCredentials } from './nodeCredentials.ts';
import { ensureBinaries } from './binaries.ts';
import { KUBERNETES_VERSION } from './binaryTable.ts';
import { writeCertificates } from './certificates.ts';
import { COMPONENTS, FILES, serverUrl, type ComponentName, type ControlPlaneLayout } from './components.ts';
import { startComponents, type Components } from './componentRunner.ts';
import { newToken, USERS, writeKubeconfig, writeTokenFile } from './kubeconfig.ts';
import { findPorts } from './ports.ts';
import { firstAddress } from './cidr.ts';
import { readState, recordPids, writeState, type ClusterState, type NodeState } from './state.ts';
import { sayOnStderr, type Say } from '../install/progress.ts';

/** How to start a control plane. Everything may be left out. */
export interface ControlPlaneOptions {
  /** Name of the cluster in kubeconfig contexts. Default `test`. */
  readonly name?: string;
  /** Folder for data, certificates and logs. Default: a new temporary one, deleted by `stop`. */
  readonly dir?: string;
  /** Where lines about building missing programs go. Default: stderr. */
  readonly log?: Say;
  /** True for a cluster that stays up after this process (`npm run cluster -- up`). Default false. */
  readonly outlivesParent?: boolean;
  /** The address to listen on. Default 127.0.0.1; a cluster with a node passes that of its own interface. */
  readonly address?: string;
  /** Addresses of Services. Default 10.96.0.0/16, which nothing routes when there is no node. */
  readonly serviceCidr?: string;
  /** Facts of the node that will join. */
  readonly node?: NodeState;
}

/** A running control plane. */
export interface ControlPlane {
  readonly name: string;
  /** Folder with `kubeconfig`, certificates, `etcd/` and one log file per component. */
  readonly dir: string;
  /** Path of a kubeconfig with every right. */
  readonly kubeconfigPath: string;
  /** URL of the API server. */
  readonly server: string;
  /** The cluster's certificate authority, PEM. */
  readonly authorityPem: string;
  /** Bearer token of a user in `system:masters`. */
  readonly adminToken: string;
  /** Process id of a component; throws when it is not running. */
  pid(component: ComponentName): number;
  /** Signals a component, SIGKILL unless said otherwise, and waits until it is gone when the signal ends it. Data stay. */
  kill(component: ComponentName, signal?: NodeJS.Signals): Promise<void>;
  /** Starts a component again after `kill`: same port, same data. Returns once it answers. */
  start(component: ComponentName): Promise<void>;
  /** Ends every component, and deletes the folder when it was a temporary one. */
  stop(): Promise<void>;
}

/**
 * Starts a control plane and waits until pods could be created in namespace `default` (about 2 s once the programs are built).
 * Throws MissingError when a program cannot be built, and an error with the last log lines when one does not start.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const binaries = await ensureBinaries(COMPONENTS, options.log ?? sayOnStderr);
  for (let attempt = 1; ; attempt++) {
    const folder = options.dir ?? (await mkdtemp(join(tmpdir(), 'muster-cluster-')));
    try {
      return await startIn(folder, options, binaries);
    } catch (err) {
      if (options.dir === undefined) await rm(folder, { recursive: true, force: true });
      // Between finding a free port and using it another program may have taken it.
      if (attempt >= 3 || !String(err).includes('address already in use')) throw err;
    }
  }
}

async function startIn(
  dir: string,
  options: ControlPlaneOptions,
  binaries: Record<ComponentName, string>,
): Promise<ControlPlane> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const name = options.name ?? 'test';
  const layout: ControlPlaneLayout = {
    dir,
    address: options.address ?? '127.0.0.1',
    ports: await findPorts(),
    serviceCidr: options.serviceCidr ?? '10.96.0.0/16',
    podCidr: options.node?.podCidr,
  };
  const { adminToken, authorityPem } = await writeCredentials(name, layout, options.node);
  const state: ClusterState = {
    name,
    kubernetesVersion: KUBERNETES_VERSION,
    address: layout.address,
    ports: layout.ports,
    serviceCidr: layout.serviceCidr,
    adminToken,
    // A node's first processes may be there already: without them here, `down` would not find them.
    pids: (await readState(dir))?.pids ?? {},
    ...(options.node === undefined ? {} : { node: options.node }),
    isComplete: false,
  };
  // Recorded before each next step, so that `down` can clear up after a start that was interrupted.
  await writeState(dir, state);
  const components = await startComponents({
    layout,
    binaries,
    authorityPem,
    adminToken,
    outlivesParent: options.outlivesParent ?? false,
    record: (pids) => recordPids(dir, pids),
  });
  return handle(name, layout, components, { adminToken, authorityPem, deleteDir: options.dir === undefined });
}

function handle(
  name: string,
  layout: ControlPlaneLayout,
  components: Components,
  facts: { adminToken: string; authorityPem: string; deleteDir: boolean },
): ControlPlane {
  return {
    name,
    dir: layout.dir,
    kubeconfigPath: join(layout.dir, FILES.adminKubeconfig),
    server: serverUrl(layout),
    authorityPem: facts.authorityPem,
    adminToken: facts.adminToken,
    pid: components.pid,
    kill: components.kill,
    start: components.start,
    stop: async () => {
      await components.stop();
      if (facts.deleteDir) await rm(layout.dir, { recursive: true, force: true });
    },
  };
}

async function writeCredentials(
  clusterName: string,
  layout: ControlPlaneLayout,
  node: NodeState | undefined,
): Promise<{ adminToken: string; authorityPem: string }> {
  const authorityPem = await writeCertificates(layout.dir, [
    ...new Set([layout.address, '127.0.0.1', firstAddress(layout.serviceCidr)]),
    'localhost',
    ...['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local'],
  ]);
  const users = [
    { ...USERS.admin, token: newToken(), file: FILES.adminKubeconfig },
    { ...USERS.scheduler, token: newToken(), file: FILES.schedulerKubeconfig },
    ...(node === undefined ? [] : makeNodeCredentials(node.nodeName)),
  ];
  await writeTokenFile(join(layout.dir, FILES.tokens), users);
  for (const { file, user, token } of users) {
    await writeKubeconfig(layout.dir, file, { clusterName, server: serverUrl(layout), authorityPem, user, token });
  }
  return { authorityPem, adminToken: users[0]?.token ?? '' };
}
