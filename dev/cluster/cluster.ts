// Clusters that stay up after the command that made them: `up`, `down` and what is known of them. The state file is the
// only link between those commands.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MissingError, sayOnStderr, type Say } from '../install/progress.ts';
import { withLock } from '../install/cacheDir.ts';
import { ensureBinaries } from './binaries.ts';
import { CERTIFICATE_FILES } from './certificates.ts';
import { COMPONENTS, FILES, healthUrl } from './components.ts';
import { startControlPlane } from './controlPlane.ts';
import { prepareNode, removeNode, startNode } from './node.ts';
import { NODE_PROGRAMS } from './nodePrograms.ts';
import { endProcess, isOurs } from './process.ts';
import { isHealthy } from './readiness.ts';
import { clusterDir, clustersDir, readState, recordComplete, writeState, type ClusterState } from './state.ts';

/** Default name of a cluster. */
export const DEFAULT_NAME = 'muster';

/** What `up` is asked for. */
export interface UpOptions {
  readonly name?: string;
  /** With a node, so that pods really run. Needs root on Linux. */
  readonly node?: boolean;
  readonly say?: Say;
}

/** A cluster that is up. */
export interface RunningCluster {
  readonly name: string;
  readonly dir: string;
  readonly kubeconfigPath: string;
  readonly server: string;
  readonly state: ClusterState;
}

/**
 * Starts a cluster, or returns the one of that name that is running already. A cluster of that name that died is cleared away
 * first. Throws MissingError when something it needs cannot be had; what was started until then is ended.
 */
export async function upCluster(options: UpOptions = {}): Promise<RunningCluster> {
  const { name = DEFAULT_NAME, node = false, say = sayOnStderr } = options;
  const dir = clusterDir(name);
  // Built before the lock is taken: it may take minutes, and another cluster's `up` need not wait for it twice.
  await ensureBinaries([...COMPONENTS, 'kubectl', ...(node ? (['kubelet', 'kube-proxy'] as const) : [])], say);
  return withLock(join(clustersDir(), '.up'), async () => {
    const existing = await readCluster(name);
    if (existing !== undefined) {
      if (node && existing.state.node === undefined) {
        throw new MissingError(
          `cluster "${name}" is up without a node: run \`npm run cluster -- down --name ${name}\` first.`,
        );
      }
      return existing;
    }
    await removeCluster(dir);
    const startedMs = Date.now();
    try {
      const prepared = node ? await prepareNode(name, dir, say) : undefined;
      const controlPlane = await startControlPlane({
        ...prepared?.controlPlane,
        name,
        dir,
        log: say,
        outlivesParent: true,
      });
      if (prepared !== undefined) await startNode(controlPlane, prepared, say);
      await recordComplete(dir);
    } catch (err) {
      await removeCluster(dir, { keepLogs: true });
      throw err;
    }
    const cluster = await readCluster(name);
    if (cluster === undefined) throw new Error(`cluster "${name}" ended right after its start; logs are in ${dir}`);
    say(`cluster "${name}" is up after ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
    return cluster;
  });
}

/** Ends a cluster and removes everything it made on this machine. Says so when there is none; that is no error. */
export async function downCluster(name: string = DEFAULT_NAME, say: Say = sayOnStderr): Promise<void> {
  const dir = clusterDir(name);
  await withLock(join(clustersDir(), '.up'), async () => {
    const existed = (await readState(dir)) !== undefined;
    await removeCluster(dir);
    say(existed ? `cluster "${name}" is gone` : `there is no cluster "${name}"`);
  });
}

/** The cluster of that name if it was started completely and its API server answers; undefined otherwise. */
export async function readCluster(name: string = DEFAULT_NAME): Promise<RunningCluster | undefined> {
  const dir = clusterDir(name);
  const state = await readState(dir);
  if (state?.isComplete !== true) return undefined;
  if (!(await answers(dir, state))) return undefined;
  return {
    name,
    dir,
    kubeconfigPath: join(dir, FILES.adminKubeconfig),
    server: `https://${state.address}:${state.ports.apiserver}`,
    state,
  };
}

/** Patient while the process is there: on a busy machine a healthy one may need seconds, and `up` replaces a dead one. */
async function answers(dir: string, state: ClusterState): Promise<boolean> {
  const authorityPem = await readFile(join(dir, CERTIFICATE_FILES.authority), 'utf8').catch(() => '');
  const url = healthUrl('kube-apiserver', { ...state, dir });
  for (const deadlineMs = Date.now() + 15_000; Date.now() < deadlineMs;) {
    if (await isHealthy(url, authorityPem)) return true;
    if (!(await isOurs(state.pids['kube-apiserver'] ?? 0, dir))) return false;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return false;
}

/** Which of a cluster's programs run: name, process id, and whether that process is there. */
export async function readPrograms(state: ClusterState): Promise<{ name: string; pid: number; running: boolean }[]> {
  const dir = clusterDir(state.name);
  return Promise.all(
    Object.entries(state.pids).map(async ([name, pid]) => ({ name, pid, running: await isOurs(pid, dir) })),
  );
}

async function removeCluster(dir: string, { keepLogs = false } = {}): Promise<void> {
  const state = await readState(dir);
  if (state?.node !== undefined) await removeNode(dir, state, state.node);
  for (const [name, pid] of Object.entries(state?.pids ?? {})) {
    if (!(NODE_PROGRAMS as readonly string[]).includes(name)) await endProcess(pid, dir, 'SIGKILL');
  }
  if (keepLogs && state !== undefined) {
    // The error names a log file; it must still be there to be read. The next `up` or `down` deletes it.
    await writeState(dir, { ...state, pids: {} });
    return;
  }
  await rm(dir, { recursive: true, force: true });
}
