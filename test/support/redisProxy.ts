/** A TCP proxy in front of a real Redis that can do what networks do: swallow everything, reset, refuse. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A running proxy. */
export interface RedisProxy {
  readonly port: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Bytes that clients sent so far. */
  readonly sentBytes: number;
  /** While on, nothing passes and nothing is closed: what a dropped route looks like. Connections of that time stay dead. */
  blackhole(on: boolean): void;
  /** Like `blackhole`, but only for the connections that are open now and that a client has sent `text` over. */
  swallow(text: string): number;
  /** Resets every connection. */
  resetAll(): void;
  /** While on, a connection is closed as soon as it is accepted. */
  refuse(on: boolean): void;
  /** Bytes pass only after this long. */
  delay(ms: number): void;
  close(): Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** What the client sent, its beginning. */
  said: string;
  dead: boolean;
}

/** Starts a proxy to a port of the loopback. */
export async function startRedisProxy(targetPort: number): Promise<RedisProxy> {
  const links = new Set<Link>();
  let accepted = 0;
  let sentBytes = 0;
  let isBlackhole = false;
  let isRefusing = false;
  let delayMs = 0;

  const front = createServer((client) => {
    accepted += 1;
    client.on('error', () => undefined);
    if (isRefusing) {
      client.resetAndDestroy();
      return;
    }
    // Else each small piece would wait for the acknowledgement of the one before: the proxy's delay, and not the network's.
    client.setNoDelay();
    const server = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    const link: Link = { client, server, said: '', dead: isBlackhole };
    links.add(link);
    const pass = (to: Socket, chunk: Buffer): void => {
      if (!link.dead && !to.destroyed) to.write(chunk);
    };
    const forward = (to: Socket, chunk: Buffer): void => {
      if (delayMs === 0) pass(to, chunk);
      else setTimeout(() => pass(to, chunk), delayMs);
    };
    client.on('data', (chunk) => {
      sentBytes += chunk.length;
      if (link.said.length < 10_000) link.said += chunk.toString('latin1');
      forward(server, chunk);
    });
    server.on('data', (chunk) => forward(client, chunk));
    server.on('error', () => undefined);
    client.on('close', () => {
      links.delete(link);
      server.destroy();
    });
    server.on('close', () => {
      if (!link.dead) client.destroy();
    });
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));

  return {
    port: (front.address() as AddressInfo).port,
    get accepted() {
      return accepted;
    },
    get open() {
      return links.size;
    },
    get sentBytes() {
      return sentBytes;
    },
    blackhole(on) {
      isBlackhole = on;
      if (on) for (const link of links) link.dead = true;
    },
    swallow(text) {
      const chosen = [...links].filter((link) => link.said.includes(text));
      for (const link of chosen) link.dead = true;
      return chosen.length;
    },
    resetAll() {
      for (const { client } of links) client.resetAndDestroy();
    },
    refuse(on) {
      isRefusing = on;
    },
    delay(ms) {
      delayMs = ms;
    },
    async close() {
      for (const { client, server } of links) {
        client.destroy();
        server.destroy();
      }
      await new Promise((resolve) => front.close(resolve));
    },
  };
}
