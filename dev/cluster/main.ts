// `npm run cluster -- up | down | env | status`: a real Kubernetes on this machine. Only reads arguments and prints.
import { Command, Option } from 'commander';
import { dirname } from 'node:path';
import pc from 'picocolors';
import { MissingError, runMain } from '../install/progress.ts';
import { ensureBinaries } from './binaries.ts';
import { DEFAULT_NAME, downCluster, readCluster, readPrograms, upCluster } from './cluster.ts';
import { clusterDir, listClusters, readState } from './state.ts';

const nameOption = () => new Option('--name <name>', 'name of the cluster').default(DEFAULT_NAME);

const program = new Command('cluster')
  .description('A real Kubernetes on this machine, built from Go modules; several can run side by side.')
  .showHelpAfterError('(--help says more)');

program
  .command('up')
  .description('start a cluster; one that is up already is left as it is')
  .option('--node', 'with a node, so that pods really run (root on Linux)', false)
  .addOption(nameOption())
  .action(async ({ name, node }: { name: string; node: boolean }) => {
    const cluster = await upCluster({ name, node });
    const dashName = name === DEFAULT_NAME ? '' : ` --name ${name}`;
    console.log(`${pc.green('✓')} Kubernetes ${cluster.state.kubernetesVersion} at ${cluster.server}`);
    console.log(`  eval "$(npm run -s cluster -- env${dashName})"     then: kubectl get nodes`);
    console.log(`  npm run cluster -- down${dashName}                 ends it`);
  });

program
  .command('down')
  .description('end a cluster and remove everything it made')
  .addOption(nameOption())
  .action(({ name }: { name: string }) => downCluster(name));

program
  .command('env')
  .description('print shell lines that point kubectl and helm at the cluster')
  .addOption(nameOption())
  .action(async ({ name }: { name: string }) => {
    const cluster = await readCluster(name);
    if (cluster === undefined) {
      throw new MissingError(`cluster "${name}" is not up: run \`npm run cluster -- up --name ${name}\`.`);
    }
    const tools = await ensureBinaries(['kubectl', 'helm']);
    console.log(`export KUBECONFIG=${shellQuoted(cluster.kubeconfigPath)}`);
    console.log(`export PATH=${shellQuoted([dirname(tools.kubectl), dirname(tools.helm)].join(':'))}:"$PATH"`);
  });

program
  .command('status')
  .description('say which clusters there are and which of their programs run')
  .option('--name <name>', 'only this cluster')
  .action(async ({ name }: { name?: string }) => {
    const names = name === undefined ? (await listClusters()).map((state) => state.name) : [name];
    if (names.length === 0) console.log('no cluster is up: npm run cluster -- up');
    for (const each of names) await printStatus(each);
  });

async function printStatus(name: string): Promise<void> {
  const state = await readState(clusterDir(name));
  if (state === undefined) {
    console.log(`there is no cluster "${name}"`);
    return;
  }
  const isUp = (await readCluster(name)) !== undefined;
  const node = state.node === undefined ? 'no node' : `node ${state.node.nodeName}`;
  console.log(
    `${pc.bold(name)}  ${isUp ? pc.green('up') : pc.red('down')}  ${state.kubernetesVersion}  ${node}  ${clusterDir(name)}`,
  );
  for (const { name: programName, pid, running } of await readPrograms(state)) {
    console.log(`  ${programName.padEnd(24)} ${running ? `pid ${pid}` : pc.red('not running')}`);
  }
}

function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

await runMain(async () => {
  // A reader that has seen enough (`| head -1`) closes the pipe: that is the end, and no fault.
  process.stdout.on('error', (err: NodeJS.ErrnoException) => {
    if (err.code !== 'EPIPE') throw err;
    process.exit();
  });
  await program.parseAsync();
});
