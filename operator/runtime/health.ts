/**
 * The HTTP server that Kubernetes probes and Prometheus scrapes: /healthz, /readyz and /metrics, in the form of the
 * API server's own health endpoints (`?verbose`, `?exclude=name`, `/readyz/<name>`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { Logger } from './log.ts';
import type { Runnable } from './manager.ts';

/** A named question. Answers true when all is well, else why it is not. Must be quick and must not wait. */
export interface HealthCheck {
  readonly name: string;
  check(): true | string;
}

/** What the server is built from. */
export interface HealthServerOptions {
  /** Address to listen on; all of them when empty. */
  readonly host: string;
  /** Port; 0 lets the system choose. */
  readonly port: number;
  /** Whether the process works at all: failing gets it restarted. */
  readonly healthChecks: readonly HealthCheck[];
  /** Whether it does its job now. */
  readonly readyChecks: readonly HealthCheck[];
  readonly registry: Registry;
  readonly log: Logger;
}

/** A server that can be run by a manager. */
export interface HealthServer extends Runnable {
  /** Where it listens; undefined before it does. */
  address(): AddressInfo | undefined;
}

/** Builds the server. It listens while it runs; `run` rejects when the port is taken. */
export function createHealthServer(options: HealthServerOptions): HealthServer {
  const { registry, log } = options;
  const paths: Readonly<Record<string, readonly HealthCheck[]>> = {
    healthz: options.healthChecks,
    livez: options.healthChecks,
    readyz: options.readyChecks,
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://health');
    const [, path = '', only] = url.pathname.split('/');
    if (path === 'metrics' && only === undefined) {
      const text = await registry.metrics();
      response.writeHead(200, { 'content-type': registry.contentType }).end(text);
      return;
    }
    const checks = Object.hasOwn(paths, path) ? paths[path] : undefined;
    const named = only === undefined ? checks : checks?.filter((each) => each.name === only);
    if (named === undefined || (only !== undefined && named.length === 0)) {
      response.writeHead(404, plain).end('not found\n');
      return;
    }
    const { ok, text } = report(
      path,
      named,
      new Set(url.searchParams.getAll('exclude')),
      url.searchParams.has('verbose'),
    );
    response.writeHead(ok ? 200 : 500, plain).end(text);
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((err: unknown) => {
      log.error('a health or metrics request failed', { err, url: request.url });
      if (!response.headersSent) response.writeHead(500, plain);
      response.end('internal error\n');
    });
  });
  const listening = new Promise<void>((resolve) => server.once('listening', () => resolve()));

  return {
    name: 'health server',
    address: () => (server.listening ? (server.address() as AddressInfo) : undefined),
    ready: () => listening,
    run: (signal) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(options.port, options.host === '' ? undefined : options.host);
        const close = (): void => {
          server.close(() => resolve());
          server.closeAllConnections(); // A scraper keeps its connection open for minutes.
        };
        if (signal.aborted) close();
        else signal.addEventListener('abort', close, { once: true });
      }),
  };
}

const plain = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' };

/** Asks the checks. Failures are always spelled out: "readyz check failed" alone helps nobody at night. */
function report(
  path: string,
  checks: readonly HealthCheck[],
  excluded: ReadonlySet<string>,
  verbose: boolean,
): { ok: boolean; text: string } {
  const lines: string[] = [];
  let ok = true;
  for (const each of checks) {
    const outcome = excluded.has(each.name) ? 'excluded' : ask(each);
    if (outcome === 'excluded') lines.push(`[+]${each.name} excluded: ok`);
    else if (outcome === true) lines.push(`[+]${each.name} ok`);
    else {
      ok = false;
      lines.push(`[-]${each.name} failed: ${outcome}`);
    }
  }
  if (ok && !verbose) return { ok, text: 'ok' };
  return { ok, text: `${lines.join('\n')}${lines.length > 0 ? '\n' : ''}${path} check ${ok ? 'passed' : 'failed'}\n` };
}

function ask(check: HealthCheck): true | string {
  try {
    return check.check();
  } catch (err) {
    return err instanceof Error ? err.message : String(err);
  }
}
