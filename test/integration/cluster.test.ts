/**
 * The control plane that every other integration test stands on: it comes up, its programs can be killed at any moment and
 * started again without losing data, and two of them do not meet.
 */
import { expect } from 'chai';
import { execa } from 'execa';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { ensureBinary } from '../../dev/cluster/binaries.ts';
import { BINARIES, KUBERNETES_VERSION } from '../../dev/cluster/binaryTable.ts';
import type { ComponentName } from '../../dev/cluster/components.ts';
import { startControlPlane, type ControlPlane } from '../../dev/cluster/controlPlane.ts';
import { waitUntil } from '../../dev/cluster/poll.ts';
import { commandLine } from '../../dev/cluster/process.ts';
import { pathExists } from '../../dev/install/cacheDir.ts';

describe('dev/cluster', function () {
  // The first run on a machine builds Kubernetes.
  this.timeout(15 * 60_000);

  let cluster: ControlPlane;
  let kubectl: (...args: string[]) => Promise<string>;

  before(async () => {
    cluster = await startControlPlane();
    kubectl = await kubectlFor(cluster);
  });

  after(() => cluster.stop());

  it('names the cache by the versions that go.mod builds', async () => {
    const goMod = (module: string) =>
      readFile(new URL(`../../dev/cluster/go/${module}/go.mod`, import.meta.url), 'utf8');
    expect(await goMod('kubernetes')).to.include(`k8s.io/kubernetes ${KUBERNETES_VERSION}\n`);
    expect(await goMod('kubernetes')).to.include(`go.etcd.io/etcd/server/v3 ${BINARIES.etcd.version}\n`);
    expect(await goMod('helm')).to.include(`helm.sh/helm/v4 ${BINARIES.helm.version}\n`);
  });

  it('answers kubectl with the version it was built as', async () => {
    const versions = JSON.parse(await kubectl('version', '--output=json')) as Record<string, { gitVersion: string }>;
    expect(versions['clientVersion']?.gitVersion).to.equal(KUBERNETES_VERSION);
    expect(versions['serverVersion']?.gitVersion).to.equal(KUBERNETES_VERSION);
  });

  it('runs the real controllers: a Deployment gets its ReplicaSet and Pods', async () => {
    await kubectl('create', 'deployment', 'web', '--image=none', '--replicas=3');
    const countPods = async () =>
      (await kubectl('get', 'pods', '--selector=app=web', '--output=name')).split('\n').length;
    await waitUntil('three pods', async () => (await countPods()) === 3, { timeoutMs: 20_000 });
  });

  const fatal: readonly [ComponentName, string][] = [
    ['kube-apiserver', 'keeps data and its address when the API server is killed and started again'],
    ['etcd', 'keeps data when etcd is killed and started again'],
  ];
  for (const [component, sentence] of fatal) {
    it(sentence, async () => {
      await kubectl('create', 'configmap', `before-${component}`, '--from-literal=kept=yes');
      const firstPid = cluster.pid(component);

      await cluster.kill(component);
      expect(() => cluster.pid(component)).to.throw('not running');
      await cluster.start(component);

      expect(cluster.pid(component)).not.to.equal(firstPid);
      const read = () => kubectl('get', 'configmap', `before-${component}`, '--output=jsonpath={.data.kept}');
      // The API server finds its own connections to etcd broken first, and says so once.
      await waitUntil('the ConfigMap', async () => (await read().catch(() => '')) === 'yes', { timeoutMs: 20_000 });
    });
  }

  it('starts the controller manager and the scheduler again', async () => {
    for (const component of ['kube-controller-manager', 'kube-scheduler'] as const) {
      await cluster.kill(component, 'SIGTERM');
      await cluster.start(component);
    }
    await kubectl('create', 'namespace', 'later');
    const exists = () => kubectl('get', 'serviceaccount', 'default', '--namespace=later').then(Boolean, () => false);
    await waitUntil('service account in the new namespace', exists, { timeoutMs: 20_000 });
  });

  it('runs beside another one, and takes everything of its own away when it stops', async () => {
    const [one, other] = await Promise.all([startControlPlane(), startControlPlane({ name: 'other' })]);
    const pids = (['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const).map((name) =>
      one.pid(name),
    );
    try {
      await (
        await kubectlFor(one)
      )('create', 'configmap', 'mine', '--from-literal=a=b');
      const seen = await (await kubectlFor(other))('get', 'configmaps', '--output=name');
      expect(seen).not.to.include('configmap/mine');
    } finally {
      await one.stop();
    }
    try {
      expect(await (await kubectlFor(other))('get', '--raw=/readyz')).to.equal('ok');
      expect(await pathExists(one.dir)).to.equal(false);
      expect(await Promise.all(pids.map((pid) => commandLine(pid)))).to.deep.equal(pids.map(() => undefined));
    } finally {
      await other.stop();
    }
  });

  it('names the component and shows its last words when it does not start', async () => {
    const failure = await startControlPlane({ address: '203.0.113.1' }).then(
      (started) => started.stop().then(() => 'it started'),
      (err: unknown) => String(err),
    );
    expect(failure).to.match(
      /kube-apiserver ended while starting; its log \(.*kube-apiserver\.log\) ends with:\n(.|\n)*203\.0\.113\.1/,
    );
  });

  it('leaves no process behind when the process that started it is killed', async function () {
    // Elsewhere nothing tells a process that its parent was killed.
    if (process.platform !== 'linux') this.skip();
    const script = `
      import { startControlPlane } from './dev/cluster/controlPlane.ts';
      const cluster = await startControlPlane();
      console.log(cluster.dir, cluster.pid('etcd'), cluster.pid('kube-apiserver'));
      setInterval(() => {}, 1000);
    `;
    const parent = spawn(process.execPath, ['--import=tsx', '--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
    const [dir = '', ...pids] = line.split(' ');
    parent.kill('SIGKILL');
    const areGone = async () =>
      (await Promise.all(pids.map((pid) => commandLine(Number(pid))))).every((running) => running === undefined);
    await waitUntil('processes gone', areGone, { timeoutMs: 10_000 });
    // What a killed process cannot do for itself.
    await execa('rm', ['-rf', dir]);
  });
});

async function kubectlFor(cluster: ControlPlane): Promise<(...args: string[]) => Promise<string>> {
  const path = await ensureBinary('kubectl');
  return async (...args) => (await execa(path, ['--kubeconfig', cluster.kubeconfigPath, ...args])).stdout;
}
