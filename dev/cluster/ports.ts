// Free ports for a control plane.
import getPort from 'get-port';
import type { ControlPlanePorts } from './state.ts';

// Below the kernel's range for outgoing connections (32768 on Linux) and below Kubernetes' node ports (30000): a component
// that was killed must find its port still free when it is started again.
const LOWEST = 20_000;
const HIGHEST = 29_999;

/** Five ports that are free now. Chosen at random, so that clusters started at the same moment do not want the same ones. */
export async function findPorts(): Promise<ControlPlanePorts> {
  return {
    etcd: await findPort(),
    etcdPeer: await findPort(),
    apiserver: await findPort(),
    controllerManager: await findPort(),
    scheduler: await findPort(),
  };
}

async function findPort(): Promise<number> {
  const candidates = Array.from({ length: 20 }, () => LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST)));
  return getPort({ port: candidates });
}
