/**
 * Kept-alive connections to one API server, and the credentials for each request. client-node builds a new TLS
 * connection per request (200 requests, 200 handshakes); here two undici agents live as long as the CA and the client
 * certificate stay the same. Watches have an agent of their own: one may last ten minutes and must not use up the
 * connections that requests wait for.
 */
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, ProxyAgent, type Dispatcher } from 'undici';

/** How a request reaches the server. */
export interface Route {
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  /** Path in front of every request, without a slash at its end; empty for a bare API server. */
  readonly basePath: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The connections of one transport. */
export interface Connection {
  /** Credentials as of now and the agent to use. Rejects when they cannot be read (nothing was sent then). */
  route(use: 'request' | 'watch'): Promise<Route>;
  /**
   * Lets requests begin on new connections; those under way may finish on the old ones. Called after a deadline: a
   * kept-alive connection whose other end has vanished would make every later request wait for its deadline too.
   * @param route the route of the request that failed; nothing happens when its connections were given up already
   * @param withWatches ends the watches too: when the server was silent on every connection, theirs are as dead, and
   *   they would notice only by their own inactivity limit
   */
  renew(route: Route, withWatches: boolean): void;
  /** Ends every connection at once. */
  close(): Promise<void>;
}

/** Limits of the connections. */
export interface ConnectionLimits {
  /** Connections for requests; more requests at once wait for one. */
  readonly maxConnections: number;
  /** Milliseconds to connect, TLS included. */
  readonly connectTimeoutMs: number;
}

interface Agents {
  readonly tls: TlsOptions;
  request: Dispatcher;
  watch: Dispatcher;
}

type TlsOptions = Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'passphrase' | 'rejectUnauthorized' | 'servername'>;

/** Connects to the current cluster of a KubeConfig, as its current user. */
export function createConnection(kubeConfig: KubeConfig, limits: ConnectionLimits): Connection {
  const cluster = kubeConfig.getCurrentCluster();
  if (cluster === null) throw new Error('the kubeconfig has no current cluster: set current-context');
  const proxyUrl = cluster.proxyUrl;
  if (proxyUrl?.startsWith('socks') === true)
    throw new Error('proxy-url of the kubeconfig: SOCKS proxies are not supported');
  const server = new URL(cluster.server);
  const basePath = server.pathname.replace(/\/+$/, '');
  let agents: Agents | undefined;
  const retired = new Set<Dispatcher>();

  const build = (tls: TlsOptions, connections: number | null): Dispatcher => {
    // The API server keeps idle connections for 90 s; giving them up first avoids sending into one that just closed.
    const common = { connections, keepAliveTimeout: 60_000, keepAliveMaxTimeout: 60_000, allowH2: false };
    const connect = { ...tls, timeout: limits.connectTimeoutMs, keepAlive: true, keepAliveInitialDelay: 30_000 };
    return proxyUrl === undefined
      ? new Agent({ ...common, connect })
      : new ProxyAgent({ ...common, uri: proxyUrl, requestTls: connect });
  };

  const retire = (dispatcher: Dispatcher): void => {
    retired.add(dispatcher);
    void dispatcher.close().then(
      () => retired.delete(dispatcher),
      () => retired.delete(dispatcher),
    );
  };

  return {
    route: async (use) => {
      const options: RequestOptions = {};
      await kubeConfig.applyToHTTPSOptions(options);
      const tls = tlsOptions(options);
      // Compared each time, because a rotated CA or client certificate shows only in what the files hold now.
      if (agents === undefined || !sameTls(agents.tls, tls)) {
        if (agents !== undefined) [agents.request, agents.watch].forEach(retire);
        agents = { tls, request: build(tls, limits.maxConnections), watch: build(tls, null) };
      }
      return { dispatcher: agents[use], origin: server.origin, basePath, headers: authHeaders(options) };
    },
    renew: ({ dispatcher }, withWatches) => {
      if (agents === undefined || (agents.request !== dispatcher && agents.watch !== dispatcher)) return;
      if (agents.request === dispatcher || withWatches) {
        retire(agents.request);
        agents.request = build(agents.tls, limits.maxConnections);
      }
      if (withWatches) {
        void agents.watch.destroy();
        agents.watch = build(agents.tls, null);
      }
    },
    close: async () => {
      const all = [...retired, ...(agents === undefined ? [] : [agents.request, agents.watch])];
      agents = undefined;
      await Promise.allSettled(all.map((dispatcher) => dispatcher.destroy()));
    },
  };
}

function tlsOptions(options: RequestOptions): TlsOptions {
  const { ca, cert, key, passphrase, rejectUnauthorized, servername } = options;
  const all = { ca, cert, key, passphrase, rejectUnauthorized, servername };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function sameTls(a: TlsOptions, b: TlsOptions): boolean {
  const names = ['ca', 'cert', 'key', 'passphrase', 'rejectUnauthorized', 'servername'] as const;
  return names.every((name) => {
    const [x, y] = [a[name], b[name]];
    return x instanceof Buffer && y instanceof Buffer ? x.equals(y) : x === y;
  });
}

function authHeaders(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  if (options.auth !== undefined && options.auth !== null) {
    headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    // A token file that ends in a newline would otherwise make an illegal header.
    if (value !== undefined) headers[name.toLowerCase()] = String(value).trim();
  }
  return headers;
}
