// Credentials of a cluster: the users the API server knows by token, and the kubeconfig files that carry them.
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** Who talks to the API server: user name and groups as Kubernetes' own RBAC rules expect them. */
export const USERS = {
  admin: { user: 'admin', group: 'system:masters' },
  scheduler: { user: 'system:kube-scheduler', group: 'system:authenticated' },
  'kube-proxy': { user: 'system:kube-proxy', group: 'system:node-proxier' },
} as const;

/** One line of the API server's token file. */
export interface TokenEntry {
  readonly token: string;
  readonly user: string;
  readonly group: string;
}

/** A new token that cannot be guessed. */
export function newToken(): string {
  return randomBytes(24).toString('base64url');
}

/** Writes the API server's token file. */
export async function writeTokenFile(path: string, entries: readonly TokenEntry[]): Promise<void> {
  const lines = entries.map(({ token, user, group }) => `${token},${user},${user},"${group}"\n`);
  await writeFile(path, lines.join(''), { mode: 0o600 });
}

/** What a kubeconfig says. `authorityPem` is the cluster's certificate authority. */
export interface KubeconfigFacts {
  readonly clusterName: string;
  readonly server: string;
  readonly authorityPem: string;
  readonly user: string;
  readonly token: string;
}

/** Writes `<dir>/<file>` and returns its path. Self-contained, so that the file alone can be copied elsewhere. */
export async function writeKubeconfig(dir: string, file: string, facts: KubeconfigFacts): Promise<string> {
  const path = join(dir, file);
  const context = `muster-${facts.clusterName}`;
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': context,
    contexts: [{ name: context, context: { cluster: context, user: facts.user } }],
    clusters: [
      {
        name: context,
        cluster: {
          server: facts.server,
          'certificate-authority-data': Buffer.from(facts.authorityPem).toString('base64'),
        },
      },
    ],
    users: [{ name: facts.user, user: { token: facts.token } }],
  };
  await writeFile(path, stringify(content, { lineWidth: 0 }), { mode: 0o600 });
  return path;
}
