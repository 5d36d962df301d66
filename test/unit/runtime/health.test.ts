import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { Counter, Registry } from 'prom-client';
import { createHealthServer, type HealthCheck, type HealthServer } from '../../../operator/runtime/health.ts';
import { silentLog } from '../../support/silentLog.ts';

describe('health server', () => {
  let stop: AbortController;
  let server: HealthServer;
  let running: Promise<void>;
  let cache: true | string;

  const build = (port: number, registry: Registry): HealthServer => {
    const ready: HealthCheck[] = [
      { name: 'cache', check: () => cache },
      { name: 'lease', check: () => true },
    ];
    const healthChecks = [{ name: 'ping', check: () => true as const }];
    return createHealthServer({ host: '127.0.0.1', port, healthChecks, readyChecks: ready, registry, log: silentLog });
  };
  const ask = async (path: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://127.0.0.1:${server.address()?.port ?? 0}${path}`);
    return { status: response.status, text: await response.text() };
  };

  beforeEach(async () => {
    cache = true;
    stop = new AbortController();
    const registry = new Registry();
    new Counter({ name: 'probe_total', help: 'A probe.', registers: [registry] }).inc();
    server = build(0, registry);
    running = server.run(stop.signal);
    await server.ready?.(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await running;
  });

  it('says ok in one word, and everything when asked', async () => {
    expect(await ask('/healthz')).to.deep.equal({ status: 200, text: 'ok' });
    expect(await ask('/livez')).to.deep.equal({ status: 200, text: 'ok' });
    const { text } = await ask('/readyz?verbose');
    expect(text).to.equal('[+]cache ok\n[+]lease ok\nreadyz check passed\n');
  });

  it('says which check failed and why, without being asked', async () => {
    cache = 'pods are not listed yet';
    const { status, text } = await ask('/readyz');
    expect(status).to.equal(500);
    expect(text).to.contain('[-]cache failed: pods are not listed yet').and.to.contain('readyz check failed');
    expect((await ask('/readyz?exclude=cache')).status).to.equal(200);
    expect((await ask('/readyz/cache')).status).to.equal(500);
    expect((await ask('/readyz/lease')).status).to.equal(200);
    expect((await ask('/healthz')).status).to.equal(200);
  });

  it('serves metrics, and nothing else', async () => {
    expect((await ask('/metrics')).text).to.contain('probe_total 1');
    for (const path of ['/', '/readyz/nope', '/metrics/x', '/__proto__', '/toString']) {
      expect((await ask(path)).status, path).to.equal(404);
    }
  });

  it('fails to run when its port is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const taken = build((other.address() as AddressInfo).port, new Registry());
    const error = await taken.run(stop.signal).catch((err: unknown) => err);
    expect(String(error)).to.contain('EADDRINUSE');
    await new Promise((resolve) => other.close(resolve));
  });
});
