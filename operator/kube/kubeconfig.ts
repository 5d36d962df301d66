/**
 * Which cluster to talk to, and as whom. The one file that loads client-node at run time: kubeconfig files, exec
 * plugins, OIDC and in-cluster token files are read by it.
 */
import { KubeConfig } from '@kubernetes/client-node';

/** Where to look for the cluster. */
export interface KubeConfigOptions {
  /** A kubeconfig file; else `$KUBECONFIG`, `~/.kube/config`, then the pod's own service account. */
  readonly path?: string | undefined;
  /** A context of it; else its current one. */
  readonly context?: string | undefined;
}

/** Loads the configuration. Throws an Error with one sentence when the context is not in it. */
export function loadKubeConfig(options: KubeConfigOptions = {}): KubeConfig {
  const config = new KubeConfig();
  if (options.path === undefined) config.loadFromDefault();
  else config.loadFromFile(options.path);
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null) {
      const known = config.getContexts().map((context) => context.name);
      throw new Error(`context "${options.context}" is not in the kubeconfig (it has: ${known.join(', ') || 'none'})`);
    }
    config.setCurrentContext(options.context);
  }
  return config;
}
