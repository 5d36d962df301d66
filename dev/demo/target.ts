// What the rest of the demo needs to know of the cluster that it runs on, whoever made that cluster.
import type { Steps } from './steps.ts';
import type { Tools } from './tools.ts';

/** A cluster that is up and that has the images. */
export interface Target {
  readonly tools: Tools;
  /** The same without the abort signal: what takes things down runs after it. */
  readonly lastTools: Tools;
  /** Namespace of Redis, the pools and the producer. */
  readonly namespace: string;
  /** The operator's Deployment. */
  readonly operator: {
    readonly name: string;
    readonly namespace: string;
    /** Values for helm; undefined where an operator serves the cluster already: it is used as it is. */
    readonly values: readonly string[] | undefined;
  };
  readonly images: { readonly app: string; readonly redis: string };
  /** Lines of shell that let a person look at the cluster, and take it down. */
  readonly look: { readonly before: readonly string[]; readonly takeDown: readonly string[] };
}

/** What preparing a cluster needs. */
export interface TargetDeps {
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** Registers what is to be done at the end, last registered first; `hint` is the command that does it by hand. */
  readonly atEnd: (title: string, undo: () => Promise<void>, hint: string) => void;
}
