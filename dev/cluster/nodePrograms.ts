// Names of the programs of a node, as they stand in the cluster's state.

/** The node's own processes; ending the first ends them all, and every pod. */
export const NODE_PROGRAMS = ['node', 'containerd', 'kubelet', 'kube-proxy'] as const;

/** One program of a node. */
export type NodeProgram = (typeof NODE_PROGRAMS)[number];
