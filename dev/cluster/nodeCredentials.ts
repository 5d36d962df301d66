// The users by which a node's two programs are known to the API server.
import { newToken, USERS, type TokenEntry } from './kubeconfig.ts';

/** Names of the kubeconfig files in the cluster's folder. */
export const NODE_FILES = { kubelet: 'kubelet.kubeconfig', kubeProxy: 'kube-proxy.kubeconfig' } as const;

/** Tokens for a node's kubelet and kube-proxy, with the kubeconfig file that each belongs in. */
export function makeNodeCredentials(nodeName: string): (TokenEntry & { file: string })[] {
  return [
    // Exactly this name and group: the Node authorizer lets such a user see what its own pods use, and no more.
    { user: `system:node:${nodeName}`, group: 'system:nodes', token: newToken(), file: NODE_FILES.kubelet },
    { ...USERS['kube-proxy'], token: newToken(), file: NODE_FILES.kubeProxy },
  ];
}
