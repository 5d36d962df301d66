// Runs the four programs of one control plane: start all, kill one, start it again, end all. Knows processes and readiness;
// where they run and as whom is decided by controlPlane.ts.
import { join } from 'node:path';
import { openAdminApi } from './adminApi.ts';
import {
  COMPONENTS,
  componentArgs,
  healthUrl,
  serverUrl,
  type ComponentName,
  type ControlPlaneLayout,
} from './components.ts';
import { waitUntil } from './poll.ts';
import { endProcess, endsProcesses, signalQuietly, startProgram, type Program } from './process.ts';
import { isHealthy, waitUntilReady } from './readiness.ts';

/** What is needed to run the components. */
export interface RunnerOptions {
  readonly layout: ControlPlaneLayout;
  readonly binaries: Readonly<Record<ComponentName, string>>;
  readonly authorityPem: string;
  readonly adminToken: string;
  readonly outlivesParent: boolean;
  /** Called with all process ids whenever one is added. */
  record(pids: Record<string, number>): Promise<void>;
}

/** The running programs of a control plane; the operations are those of ControlPlane. */
export interface Components {
  readonly pid: (component: ComponentName) => number;
  readonly kill: (component: ComponentName, signal?: NodeJS.Signals) => Promise<void>;
  readonly start: (component: ComponentName) => Promise<void>;
  readonly stop: () => Promise<void>;
}

// Under a second each on an idle machine; a start is allowed this long because test machines are not idle.
const READY_TIMEOUT_MS = 60_000;

/** Starts everything and waits until it works. Ends what it started when something does not. */
export async function startComponents(options: RunnerOptions): Promise<Components> {
  const { layout } = options;
  const programs = new Map<ComponentName, Program>();

  const endAll = () => {
    for (const program of programs.values()) if (program.isRunning()) signalQuietly(program.pid, 'SIGKILL');
  };
  if (!options.outlivesParent) process.on('exit', endAll);

  const components: Components = {
    pid(component) {
      const program = programs.get(component);
      if (program?.isRunning() !== true) throw new Error(`${component} is not running`);
      return program.pid;
    },
    async kill(component, signal = 'SIGKILL') {
      await endProcess(components.pid(component), layout.dir, signal);
      // Gone from the process table is a moment before Node has heard of it, and `start` asks Node.
      if (endsProcesses(signal)) await programs.get(component)?.ended();
    },
    async start(component) {
      await launch(options, programs, component);
      await becomeReady(options, programs, component);
    },
    async stop() {
      // Killed outright: what etcd keeps survives that, and asking politely first takes seconds.
      await Promise.all([...programs.values()].map(({ pid }) => endProcess(pid, layout.dir, 'SIGKILL')));
      process.off('exit', endAll);
    },
  };

  try {
    // The API server needs half a second before it asks etcd anything: both at once, then what depends on them.
    await launch(options, programs, 'etcd');
    await launch(options, programs, 'kube-apiserver');
    await becomeReady(options, programs, 'etcd');
    await becomeReady(options, programs, 'kube-apiserver');
    await launch(options, programs, 'kube-controller-manager');
    await launch(options, programs, 'kube-scheduler');
    for (const name of COMPONENTS) await becomeReady(options, programs, name);
    await waitForDefaultServiceAccount(options);
  } catch (err) {
    await components.stop();
    throw err;
  }
  return components;
}

function logPath(layout: ControlPlaneLayout, component: ComponentName): string {
  return join(layout.dir, `${component}.log`);
}

async function launch(options: RunnerOptions, programs: Map<ComponentName, Program>, component: ComponentName) {
  if (programs.get(component)?.isRunning() === true) throw new Error(`${component} is running already`);
  const program = await startProgram({
    command: options.binaries[component],
    args: componentArgs(component, options.layout),
    logPath: logPath(options.layout, component),
    outlivesParent: options.outlivesParent,
  });
  programs.set(component, program);
  await options.record(Object.fromEntries([...programs].map(([name, { pid }]) => [name, pid])));
}

async function becomeReady(options: RunnerOptions, programs: Map<ComponentName, Program>, component: ComponentName) {
  const program = programs.get(component);
  if (program === undefined) throw new Error(`${component} was not started`);
  const url = healthUrl(component, options.layout);
  const isReady = () => isHealthy(url, options.authorityPem);
  await waitUntilReady(component, program, logPath(options.layout, component), isReady, READY_TIMEOUT_MS);
}

/** Until the controller manager has made it, every pod in `default` is refused. */
async function waitForDefaultServiceAccount({ layout, authorityPem, adminToken }: RunnerOptions): Promise<void> {
  const api = openAdminApi({ server: serverUrl(layout), authorityPem, adminToken });
  try {
    const exists = async () => (await api.read('/api/v1/namespaces/default/serviceaccounts/default')) !== undefined;
    await waitUntil('service account in namespace default', exists, { timeoutMs: READY_TIMEOUT_MS });
  } finally {
    await api.close();
  }
}
