// What is known of a cluster on disk: `<folder>/cluster.json`. It is what lets `down` in another terminal find and end exactly
// what `up` started. Written after every step of starting, so that a start that failed half way can be cleared up too.
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { cacheDir } from '../install/cacheDir.ts';

const portsSchema = z.object({
  etcd: z.number(),
  etcdPeer: z.number(),
  apiserver: z.number(),
  controllerManager: z.number(),
  scheduler: z.number(),
});

const nodeSchema = z.object({
  /** Number of the cluster on this machine: it is part of every address and interface name, so that clusters do not meet. */
  slot: z.number(),
  nodeName: z.string(),
  podCidr: z.string(),
});

const stateSchema = z.object({
  name: z.string(),
  kubernetesVersion: z.string(),
  /** The address that the API server listens on: loopback, or that of the cluster's own interface when it has a node. */
  address: z.string(),
  ports: portsSchema,
  serviceCidr: z.string(),
  adminToken: z.string(),
  /** Process ids by program name. */
  pids: z.record(z.string(), z.number()),
  node: nodeSchema.optional(),
  /** True once everything works: an `up` that was interrupted leaves false, and the next one starts afresh. */
  isComplete: z.boolean().default(true),
});

/** Everything recorded about one cluster. */
export type ClusterState = z.infer<typeof stateSchema>;
/** The ports of a control plane. */
export type ControlPlanePorts = z.infer<typeof portsSchema>;
/** What the state says of a node. */
export type NodeState = z.infer<typeof nodeSchema>;

/** The folder in which the clusters started from the command line live, one folder each. */
export function clustersDir(): string {
  return join(cacheDir(), 'clusters');
}

/** Folder of the cluster of that name. Throws on a name that could not be part of a path, a host name and a label. */
export function clusterDir(name: string): string {
  if (!/^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$/.test(name)) {
    throw new Error(
      `a cluster's name is up to 30 lower-case letters, digits and dashes, starting with a letter; not "${name}"`,
    );
  }
  return join(clustersDir(), name);
}

/** The state in `dir`, or undefined when there is none. Throws when the file is damaged. */
export async function readState(dir: string): Promise<ClusterState | undefined> {
  const path = join(dir, 'cluster.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = stateSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`${path} is not the state of a cluster: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Writes the state into `dir`, whole or not at all. Readable by the owner only: it holds the admin token. */
export async function writeState(dir: string, state: ClusterState): Promise<void> {
  await mkdir(dir, { recursive: true });
  const unfinished = join(dir, 'cluster.json.tmp');
  await writeFile(unfinished, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  await rename(unfinished, join(dir, 'cluster.json'));
}

/** Adds process ids to the state in `dir`. */
export async function recordPids(dir: string, pids: Readonly<Record<string, number>>): Promise<void> {
  await changeState(dir, (state) => ({ ...state, pids: { ...state.pids, ...pids } }));
}

/** Records that everything of the cluster in `dir` works. */
export async function recordComplete(dir: string): Promise<void> {
  await changeState(dir, (state) => ({ ...state, isComplete: true }));
}

async function changeState(dir: string, change: (state: ClusterState) => ClusterState): Promise<void> {
  const state = await readState(dir);
  if (state === undefined) throw new Error(`${dir} holds no cluster any more`);
  await writeState(dir, change(state));
}

/** Every recorded cluster, running or not, by name. */
export async function listClusters(): Promise<ClusterState[]> {
  const names = await readdir(clustersDir()).catch(() => []);
  const states = await Promise.all(names.sort().map((name) => readState(join(clustersDir(), name))));
  return states.filter((state) => state !== undefined);
}

/** Slots of recorded clusters with a node. */
export async function readReservedSlots(): Promise<Set<number>> {
  return new Set((await listClusters()).flatMap(({ node }) => (node === undefined ? [] : [node.slot])));
}
