/**
 * The operator as its users run it: a process of its own, with flags, a kubeconfig and a log. Tests read what it says
 * and never reach into it.
 */
import { execa } from 'execa';
import getPort from 'get-port';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One log line. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly message: string };

/** A running operator. */
export interface OperatorProcess {
  readonly pid: number;
  /** Every line of its log so far, oldest first. */
  readonly log: readonly LogLine[];
  /** Every line that it has printed so far and that is not part of the log. */
  readonly stray: readonly string[];
  /** `http://127.0.0.1:port`, of /metrics, /healthz and /readyz. */
  readonly url: string;
  /** The value of a metric with exactly these labels; undefined when there is no such series. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number | undefined>;
  /** How many requests that write it has sent to the API server so far. */
  writes(): Promise<number>;
  /** Sends it a signal, as SIGSTOP and SIGCONT, and does not wait. */
  signal(signal: NodeJS.Signals): void;
  /** Ends it (SIGTERM unless named) and resolves to its exit code; undefined when a signal killed it. */
  stop(signal?: NodeJS.Signals): Promise<number | undefined>;
}

/** Starts the operator from source and resolves when it is ready. Rejects with the end of its log when it is not. */
export async function startOperator(options: {
  kubeconfig: string;
  /** A free one when absent. */
  port?: number;
  args?: readonly string[];
}): Promise<OperatorProcess> {
  // Below the range of outgoing connections, so that nothing else takes it meanwhile.
  const candidates = Array.from({ length: 20 }, () => 20_000 + Math.floor(Math.random() * 5_000));
  const port = options.port ?? (await getPort({ port: candidates }));
  const args = ['--import=tsx', 'operator/main.ts', '--port', String(port), ...(options.args ?? [])];
  const child = execa(process.execPath, args, {
    cwd: root,
    env: { KUBECONFIG: options.kubeconfig },
    reject: false,
    buffer: false,
    stdin: 'ignore',
  });
  const log: LogLine[] = [];
  const raw: string[] = [];
  const stray: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    raw.push(line);
    if (line.startsWith('{')) log.push(JSON.parse(line) as LogLine);
    else stray.push(line);
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    raw.push(line);
    stray.push(line);
  });
  let ended = false;
  void child.then(() => (ended = true));
  const url = `http://127.0.0.1:${port}`;
  try {
    await eventually(
      async () => {
        if (ended) throw new Error('the operator ended');
        const response = await fetch(`${url}/readyz`);
        return response.ok;
      },
      { timeoutMs: 30_000, intervalMs: 50 },
    );
  } catch (err) {
    child.kill('SIGKILL');
    throw new Error(`the operator did not become ready:\n${raw.slice(-20).join('\n')}`, { cause: err });
  }
  const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
  return {
    pid: child.pid ?? 0,
    log,
    stray,
    url,
    metric: async (name, labels = {}) => metricValue(await metrics(), name, labels),
    async writes() {
      let sum = 0;
      for (const [, method, value] of (await metrics()).matchAll(
        /^rest_client_requests_total\{.*method="(\w+)".*\} (\d+)$/gm,
      )) {
        if (method !== 'GET') sum += Number(value);
      }
      return sum;
    },
    signal: (signal) => void child.kill(signal),
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      const result = await child;
      return result.exitCode;
    },
  };
}

/** Finds a series in the Prometheus text format, whatever the order of its labels. */
export function metricValue(text: string, name: string, labels: Readonly<Record<string, string>>): number | undefined {
  for (const line of text.split('\n')) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match?.[1] !== name) continue;
    const pairs = [...(match[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)];
    const found = Object.fromEntries(pairs.map(([, key = '', value = '']): [string, string] => [key, value]));
    if (Object.keys(found).length !== Object.keys(labels).length) continue;
    if (Object.entries(labels).every(([key, value]) => found[key] === value)) return Number(match[3]);
  }
  return undefined;
}
