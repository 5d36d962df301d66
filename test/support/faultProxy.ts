/**
 * Faults between Muster and the real API server. Two layers: a TCP front that can reset, swallow and refuse, and
 * behind it an HTTPS server (with the API server's own certificate) that can answer for the real one, cut its answer
 * off, delay it, or lose it. Whatever has no fault goes to the real server and back unchanged.
 *
 *   client ──TCP──► front (reset, blackhole, refuse) ──TCP──► HTTPS (rules by request) ──HTTPS──► API server
 */
import { readFile } from 'node:fs/promises';
import { Agent, createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { loadKubeConfig } from '../../operator/kube/kubeconfig.ts';

/** A request that the proxy saw, in the order of arrival. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly isWatch: boolean;
  /** Milliseconds (monotonic) at arrival. */
  readonly atMs: number;
}

/** What happens to a request. */
export type Fault =
  /** Answered here; the real server never sees it. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** Forwarded; after so many bytes of the answer's body the connection is reset (RST). */
  | { readonly kind: 'reset'; readonly afterBytes: number }
  /** Forwarded; after so many bytes the answer ends, as if complete. */
  | { readonly kind: 'end'; readonly afterBytes: number }
  /** Forwarded; after so many bytes of the answer's body nothing more comes, and nothing is closed. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** Forwarded; the answer is never heard of: the connection is reset instead. */
  | { readonly kind: 'loseAnswer' }
  /** Forwarded after a while. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Forwarded; these lines are put in front of the answer's body. */
  | { readonly kind: 'inject'; readonly text: string; readonly thenEnd: boolean };

/** Which requests a fault is for. */
export interface FaultRule {
  readonly match: (request: SeenRequest) => boolean;
  /** For how many requests; all until removed when absent. */
  readonly times?: number;
}

/** A proxy in front of an API server. */
export interface FaultProxy {
  readonly url: string;
  /** A configuration like the cluster's own, but through the proxy. */
  kubeConfig(): KubeConfig;
  /** Everything that arrived. */
  readonly requests: readonly SeenRequest[];
  /** Answers of the real server that have begun and not ended: an open watch is one. */
  readonly openAnswers: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Adds a fault; the first that matches a request counts. Returns a function that removes it. */
  fault(fault: Fault, rule: FaultRule): () => void;
  /** Resets every connection now. */
  resetAll(): void;
  /** Ends every answer under way as if it were complete. */
  endAnswers(): void;
  /** While on, nothing passes and nothing is closed: what a dropped network path looks like. Connections of that time stay dead. */
  blackhole(on: boolean): void;
  /** While on, connecting is refused. */
  refuse(on: boolean): Promise<void>;
  close(): Promise<void>;
}

/** The cluster behind a proxy, as dev/cluster's control plane describes it. */
export interface ProxiedCluster {
  readonly server: string;
  readonly dir: string;
  readonly authorityPem: string;
  readonly kubeconfigPath: string;
}

export const isWatch = (request: SeenRequest): boolean => request.isWatch;
export const isList = (request: SeenRequest): boolean => request.method === 'GET' && !request.isWatch;

/** Starts a proxy on a free port of the loopback. */
export async function startFaultProxy(cluster: ProxiedCluster): Promise<FaultProxy> {
  const upstream = new URL(cluster.server);
  const agent = new Agent({ ca: cluster.authorityPem, keepAlive: true });
  const requests: SeenRequest[] = [];
  const rules: { fault: Fault; match: FaultRule['match']; left: number }[] = [];
  const answers = new Set<ServerResponse>();
  /** Front sockets by the port of their inner end: how a request finds the client's connection. */
  const fronts = new Map<number, Socket>();
  const sockets = new Set<Socket>();
  const swallowed = new WeakSet<Socket>();
  let isBlackhole = false;
  let accepted = 0;

  const takeFault = (seen: SeenRequest): Fault | undefined => {
    const rule = rules.find((each) => each.left > 0 && each.match(seen));
    if (rule !== undefined) rule.left -= 1;
    return rule?.fault;
  };
  const reset = (socket: Socket | undefined): void => void socket?.resetAndDestroy();

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(request.url ?? '/', cluster.server);
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      isWatch: url.searchParams.get('watch') === 'true',
      atMs: performance.now(),
    };
    requests.push(seen);
    const fault = takeFault(seen);
    if (fault?.kind === 'answer') {
      request.resume();
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers }).end(fault.body ?? '');
      return;
    }
    const front = fronts.get(request.socket.remotePort ?? 0);
    const go = (): void => forward(request, response, url, fault, () => reset(front));
    if (fault?.kind === 'delay') setTimeout(go, fault.ms);
    else go();
  };

  const forward = (
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    fault: Fault | undefined,
    resetClient: () => void,
  ): void => {
    const onward = httpsRequest(
      {
        host: upstream.hostname,
        port: upstream.port,
        agent,
        method: request.method,
        path: url.pathname + url.search,
        headers: request.headers,
      },
      (answer) => {
        if (fault?.kind === 'loseAnswer') {
          answer.resume();
          answer.once('end', resetClient);
          return;
        }
        answers.add(response);
        response.once('close', () => {
          answers.delete(response);
          onward.destroy();
        });
        response.writeHead(answer.statusCode ?? 502, withoutLength(answer.headers));
        response.flushHeaders();
        if (fault?.kind === 'inject') {
          response.write(fault.text);
          if (fault.thenEnd) {
            response.end();
            return;
          }
        }
        relay(answer, response, fault, resetClient);
      },
    );
    // The server is gone: what the client sees is a connection that ends without an answer.
    onward.on('error', () => {
      if (!response.writableEnded) resetClient();
    });
    request.pipe(onward);
  };

  const relay = (
    answer: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
    resetClient: () => void,
  ): void => {
    const cutAt = fault !== undefined && 'afterBytes' in fault ? fault.afterBytes : Infinity;
    let sent = 0;
    const cut = (): void => {
      // Given time to arrive: a reset overtakes what is still on its way.
      if (fault?.kind === 'reset') setTimeout(resetClient, 20);
      else if (fault?.kind === 'end') response.end();
    };
    if (cutAt === 0) cut();
    answer.on('data', (chunk: Buffer) => {
      if (sent >= cutAt || response.writableEnded) return;
      const piece = chunk.subarray(0, cutAt - sent);
      sent += piece.length;
      response.write(piece);
      if (sent >= cutAt) cut();
    });
    answer.once('end', () => {
      if (fault?.kind !== 'stall') response.end();
    });
    answer.once('error', () => {
      if (!response.writableEnded) resetClient(); // Else it is us who ended it, and the connection is still good.
    });
  };

  const [cert, key] = await Promise.all(
    ['apiserver.crt', 'apiserver.key'].map((name) => readFile(join(cluster.dir, name))),
  );
  const inner = createHttpsServer({ cert, key }, handle);
  inner.on('tlsClientError', () => undefined); // A client that does not trust the certificate is the client's story.
  const innerPort = await listen(inner, 0);

  const front = createServer((client) => {
    accepted += 1;
    const through = connect(innerPort, '127.0.0.1');
    sockets.add(client).add(through);
    if (isBlackhole) swallowed.add(client);
    through.once('connect', () => fronts.set(through.localPort ?? 0, client));
    const pass = (to: Socket) => (chunk: Buffer) => {
      if (!swallowed.has(client)) to.write(chunk);
    };
    client.on('data', pass(through));
    through.on('data', pass(client));
    const end = (from: Socket, to: Socket) => () => {
      sockets.delete(from);
      if (!swallowed.has(client) || from === client) to.destroy();
    };
    client.on('error', () => undefined).on('close', end(client, through));
    through.on('error', () => undefined).on('close', end(through, client));
  });
  const port = await listen(front, 0);
  const url = `https://127.0.0.1:${port}`;

  return {
    url,
    requests,
    get openAnswers() {
      return answers.size;
    },
    get accepted() {
      return accepted;
    },
    kubeConfig: () => {
      const config = loadKubeConfig({ path: cluster.kubeconfigPath });
      config.clusters = config.clusters.map((each) => ({ ...each, server: url }));
      return config;
    },
    fault: (fault, { match, times = Infinity }) => {
      const rule = { fault, match, left: times };
      rules.push(rule);
      return () => void (rule.left = 0);
    },
    resetAll: () => {
      for (const socket of fronts.values()) if (!socket.destroyed) reset(socket);
    },
    endAnswers: () => {
      for (const response of answers) response.end();
    },
    blackhole: (on) => {
      isBlackhole = on;
      if (on) for (const socket of sockets) swallowed.add(socket);
    },
    refuse: async (on) => {
      if (on) {
        const closed = new Promise((resolve) => front.close(resolve));
        for (const socket of sockets) socket.destroy();
        await closed;
      } else await listen(front, port);
    },
    close: async () => {
      agent.destroy();
      for (const socket of sockets) socket.destroy();
      inner.closeAllConnections();
      await Promise.all([front, inner].map((each) => new Promise((resolve) => each.close(resolve))));
    },
  };
}

/** A Status object as the API server writes it, in JSON. */
export function statusBody(code: number, reason: string, message = reason): string {
  return JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code });
}

function withoutLength(headers: IncomingMessage['headers']): Record<string, string | string[] | undefined> {
  const rest = { ...headers };
  delete rest['content-length']; // The body may come out shorter or longer than the server said.
  return rest;
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.removeListener('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
