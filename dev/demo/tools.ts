// kubectl and helm as the demo runs them: against one cluster, quiet, and failing with one sentence.
import type { Readable } from 'node:stream';
import { execa } from 'execa';

/** The programs, how they find their cluster, and what stops them. */
export interface ToolsOptions {
  readonly kubectl: string;
  readonly helm: string;
  readonly kubeconfig?: string;
  /** A context of the user's kubeconfig. */
  readonly context?: string;
  readonly signal?: AbortSignal;
}

/** Both programs, pointed at one cluster. */
export interface Tools {
  /** Runs kubectl and resolves to what it prints; `input` goes to its stdin. Rejects with ToolError. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Runs helm and resolves to what it prints. Rejects with ToolError. */
  helm(args: readonly string[]): Promise<string>;
  /** Starts a kubectl that runs until it is killed; it ends with this process in any case. */
  follow(args: readonly string[]): Follower;
}

/** A program that runs until it is killed. */
export interface Follower {
  readonly stdout: Readable;
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<unknown>;
  kill(): void;
}

/** A command that failed. `message` is one sentence with the command and its own last words. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** Points kubectl and helm at a cluster. */
export function createTools(options: ToolsOptions): Tools {
  const { kubeconfig, context, signal } = options;
  const env = kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig };
  const kubectlArgs = context === undefined ? [] : ['--context', context];
  const helmArgs = context === undefined ? [] : ['--kube-context', context];

  const run = async (program: string, args: readonly string[], said: string, input?: string): Promise<string> => {
    signal?.throwIfAborted();
    try {
      const { stdout } = await execa(program, args, {
        env,
        ...(input === undefined ? { stdin: 'ignore' } : { input }),
        ...(signal === undefined ? {} : { cancelSignal: signal }),
      });
      return stdout;
    } catch (err) {
      signal?.throwIfAborted();
      throw new ToolError(`${said}: ${lastWords(err)}`, { cause: err });
    }
  };

  return {
    kubectl: (args, input) => run(options.kubectl, [...kubectlArgs, ...args], `kubectl ${args.join(' ')}`, input),
    helm: (args) => run(options.helm, [...helmArgs, ...args], `helm ${args.slice(0, 3).join(' ')}`),
    follow(args) {
      const child = execa(options.kubectl, [...kubectlArgs, ...args], {
        env,
        stdin: 'ignore',
        reject: false,
        buffer: false,
      });
      return { stdout: child.stdout, ended: child.then(), kill: () => void child.kill() };
    },
  };
}

function lastWords(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  const stderr = 'stderr' in err && typeof err.stderr === 'string' ? err.stderr.trim() : '';
  return stderr === '' ? err.message : (stderr.split('\n').at(-1) ?? '');
}
