/**
 * What Kubernetes asks a worker. A worker whose event loop is stuck answers nothing, which is how `/healthz` fails; ready is
 * one that is connected to its broker.
 */
import type { Registry } from 'prom-client';
import { createHealthServer } from '../operator/runtime/health.ts';
import type { Logger } from '../operator/runtime/log.ts';
import type { Worker } from './worker.ts';

/** Starts to answer `/healthz`, `/readyz` and `/metrics`; gives the way to end it. Rejects when the port is taken. */
export async function startProbes(options: {
  readonly port: number;
  readonly listenAddress: string;
  readonly worker: Worker;
  readonly registry: Registry;
  readonly log: Logger;
}): Promise<() => Promise<void>> {
  const { port, listenAddress, worker, registry, log } = options;
  const stop = new AbortController();
  const broker = (): true | string => {
    const state = worker.consumer.state();
    return state.kind === 'open' ? true : (state.why ?? 'connecting to the broker');
  };
  const server = createHealthServer({
    ...{ host: listenAddress, port, registry, log },
    healthChecks: [{ name: 'event-loop', check: () => true }],
    readyChecks: [{ name: 'broker', check: broker }],
  });
  const running = server.run(stop.signal);
  await Promise.race([server.ready?.(stop.signal), running]);
  log.info('listening', { address: server.address()?.address, port: server.address()?.port });
  return async () => {
    stop.abort();
    await running;
  };
}
