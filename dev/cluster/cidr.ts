// The little arithmetic of IPv4 networks that a cluster needs.

/** The first address of a network that a host may have: 10.96.0.0/16 → 10.96.0.1. Kubernetes gives it to the API server. */
export function firstAddress(cidr: string): string {
  const [network = ''] = cidr.split('/');
  const bytes = network.split('.').map(Number);
  if (bytes.length !== 4 || bytes.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 255)) {
    throw new Error(`"${cidr}" is not an IPv4 network such as 10.96.0.0/16`);
  }
  return [...bytes.slice(0, 3), (bytes[3] ?? 0) + 1].join('.');
}
