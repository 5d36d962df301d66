// The Go programs a cluster is made of: which module builds each, at which version, and how long that takes.
// The version here and the one in go.mod are the same fact twice, because the cache is named before Go is asked.

/** The version of Kubernetes that tests and the demo run on. Keep equal to `go/kubernetes/go.mod`. */
export const KUBERNETES_VERSION = 'v1.34.4';

/** One program: `module` is a folder under `go/`, `seconds` the cold build on two cores after those above it in the table. */
export interface Binary {
  readonly module: 'kubernetes' | 'helm';
  readonly package: string;
  readonly version: string;
  readonly seconds: number;
}

const kubernetes = (command: string, seconds: number): Binary => ({
  module: 'kubernetes',
  package: `k8s.io/kubernetes/cmd/${command}`,
  version: KUBERNETES_VERSION,
  seconds,
});

/** Every program that can be asked for, in the order in which building them is quickest. */
export const BINARIES = {
  'kube-apiserver': kubernetes('kube-apiserver', 200),
  etcd: { module: 'kubernetes', package: 'go.etcd.io/etcd/server/v3', version: 'v3.6.4', seconds: 10 },
  'kube-controller-manager': kubernetes('kube-controller-manager', 55),
  kubectl: kubernetes('kubectl', 25),
  'kube-scheduler': kubernetes('kube-scheduler', 10),
  kubelet: kubernetes('kubelet', 20),
  'kube-proxy': kubernetes('kube-proxy', 15),
  helm: { module: 'helm', package: 'helm.sh/helm/v4/cmd/helm', version: 'v4.3.1', seconds: 140 },
} as const satisfies Record<string, Binary>;

/** The name of a program in the table. */
export type BinaryName = keyof typeof BINARIES;

/** The flags of `go build` for a program: no C, no cloud providers, and the version it will say it is. */
export function buildFlags(binary: Binary): string[] {
  return [
    '-trimpath',
    '-buildvcs=false',
    '-tags',
    'providerless',
    '-ldflags',
    ['-s', '-w', ...versionFlags(binary)].join(' '),
  ];
}

/** Without these `kubectl version` fails on its own version string, and Helm says it is a development build. */
function versionFlags(binary: Binary): string[] {
  if (binary.module === 'helm') return [`-X helm.sh/helm/v4/internal/version.version=${binary.version}`];
  const [major = '', minor = ''] = KUBERNETES_VERSION.slice(1).split('.');
  const facts = {
    gitVersion: KUBERNETES_VERSION,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: 'archive',
    // Any fixed time will do, and it must be fixed: a changing one would make every build a new one.
    buildDate: '2026-02-10T12:53:36Z',
  };
  return ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((owner) =>
    Object.entries(facts).map(([name, value]) => `-X ${owner}.${name}=${value}`),
  );
}
