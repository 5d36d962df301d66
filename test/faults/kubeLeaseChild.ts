// A process that takes part in an election until it is killed: `kill -9` cannot be tested inside one process. Prints a
// line when it leads. Arguments: kubeconfig, namespace, lease, identity.
import { createLeaderElection } from '../../operator/kube/lease.ts';
import { loadKubeConfig } from '../../operator/kube/kubeconfig.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { connectTo } from '../support/apiServer.ts';
import { silentLog } from '../support/silentLog.ts';

const [path, namespace = '', name = '', identity = ''] = process.argv.slice(2);
const { client, metrics } = connectTo(loadKubeConfig({ path }));
const election = createLeaderElection({
  client,
  namespace,
  name,
  identity,
  metrics,
  clock: systemClock,
  log: silentLog,
  onStarted: async (signal) => {
    process.stdout.write('leading\n');
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  },
});
await election.run(new AbortController().signal);
