/**
 * A pool of the Node worker, from the example: plain Celery sends, results come back, it grows from zero, and a change of
 * the pool ends no running task.
 */
import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { eventually } from '../support/eventually.ts';
import { describeFailure, openShop, type Shop } from './support/shop.ts';

const slow = { timeoutMs: 120_000, intervalMs: 250 };
const example = (name: string): string => fileURLToPath(new URL(`../../examples/node-worker/${name}`, import.meta.url));

/** A site whose pages wait for a word from the test: `GET /gate` answers when there is a token in `e2e:gate`. */
const site = `
import http.server, os, redis
url = os.environ["CELERY_BROKER_URL"]

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gate":
            store = redis.Redis.from_url(url, socket_timeout=None)
            store.rpush("e2e:asked", "1")
            store.blpop("e2e:gate", timeout=0)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

http.server.ThreadingHTTPServer(("", 8000), Page).serve_forever()
`;

/** A client that waits for the result of one task. */
const client = `
import json, os, sys
from celery import Celery
url = os.environ["CELERY_BROKER_URL"]
app = Celery(broker=url, backend=url)
with open(os.environ["ROUTES_FILE"]) as file:
    app.conf.task_routes = json.load(file)
print(json.dumps(app.send_task(sys.argv[1], json.loads(sys.argv[2])).get(timeout=300)))
`;

interface Pool {
  metadata: { name: string };
  spec: {
    scaling: Record<string, unknown>;
    template: { spec: { containers: Record<string, unknown>[] } };
  };
}

describe('a pool of the Node worker', function () {
  this.timeout(900_000);
  let shop: Shop;
  let pool: Pool;
  before(async () => {
    shop = await openShop('e2e-node');
    const environment = [{ name: 'CELERY_BROKER_URL', valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } } }];
    const container = { name: 'site', image: shop.environment.images.app, command: ['python3', '-c', site] };
    await shop.apply(
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'site', labels: { app: 'site' } },
        spec: { containers: [{ ...container, env: environment, ports: [{ containerPort: 8000 }] }] },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'site' },
        spec: { selector: { app: 'site' }, ports: [{ port: 8000 }] },
      },
    );
    await shop.kubectl('wait', '--for=condition=Ready', 'pod/site', '--timeout=120s');
    pool = parse(await readFile(example('workerpool.yaml'), 'utf8')) as Pool;
    const [worker] = pool.spec.template.spec.containers;
    if (worker !== undefined) worker['image'] = shop.environment.images.node;
    pool.spec.scaling['idleSeconds'] = 5;
  });
  after(() => shop.close());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await describeFailure(shop);
  });

  /** Starts a pod that sends a task and waits for its result; gives how to get what it printed. */
  const ask = async (name: string, task: string, args: readonly unknown[]): Promise<() => Promise<unknown>> => {
    const routes = (await shop.kubectl('get', 'configmap', '--output', 'name'))
      .split('\n')
      .find((line) => line.startsWith('configmap/muster-routes-'))
      ?.slice('configmap/'.length);
    const container = {
      name: 'client',
      image: shop.environment.images.app,
      command: ['python3', '-c', client, task, JSON.stringify(args)],
      env: [
        { name: 'CELERY_BROKER_URL', valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } } },
        { name: 'ROUTES_FILE', value: '/routes/routes.json' },
      ],
      volumeMounts: [{ name: 'routes', mountPath: '/routes' }],
    };
    await shop.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: {
        restartPolicy: 'Never',
        containers: [container],
        volumes: [{ name: 'routes', configMap: { name: routes } }],
      },
    });
    return async () => {
      await shop.kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', `pod/${name}`, '--timeout=180s');
      return JSON.parse(await shop.kubectl('logs', `pod/${name}`)) as unknown;
    };
  };
  const pods = async (): Promise<{ name: string; isEnding: boolean }[]> => {
    const list = JSON.parse(
      await shop.kubectl('get', 'pods', '--selector', 'muster.dev/pool=node', '--output', 'json'),
    ) as { items: { metadata: { name: string; deletionTimestamp?: string } }[] };
    return list.items.map(({ metadata }) => ({
      name: metadata.name,
      isEnding: metadata.deletionTimestamp !== undefined,
    }));
  };
  /** By its address: a small cluster may have no DNS. */
  const gate = async (): Promise<string> => {
    const address = await shop.kubectl('get', 'service', 'site', '--output', 'jsonpath={.spec.clusterIP}');
    return `http://${address}:8000/gate`;
  };

  it('grows from zero, gives a Celery client its results, and goes back to zero', async () => {
    await shop.apply(pool);
    await eventually(async () => expect(await shop.condition('node', 'Ready')).to.contain('True/ScaledToZero'), slow);
    await eventually(async () => expect(await shop.condition('node', 'Routed')).to.contain('True/Routed'), slow);
    expect(await pods()).to.deep.equal([]);
    const page = await ask('page', 'pages.measure', [(await gate()).replace('gate', '')]);
    const primes = await ask('primes', 'primes.count', [100]);
    expect(await page()).to.deep.equal({ status: 200, bytes: 5 });
    expect(await primes()).to.equal(25);
    await eventually(async () => expect(await shop.replicas('node')).to.equal(0), slow);
    expect((await shop.status('node')).lastDecision).to.deep.include({ to: 0, reason: 'Idle' });
  });

  it('shows what runs, and a change of the pool ends no running task', async () => {
    const running = await ask('running', 'pages.measure', [await gate()]);
    await eventually(async () => expect(await shop.redis('LLEN', 'e2e:asked')).to.equal('1'), slow);
    await eventually(
      async () => expect((await shop.status('node')).tasks).to.deep.equal({ waiting: 0, running: 1, held: 0 }),
      slow,
    );
    const [old] = await pods();
    const [worker] = pool.spec.template.spec.containers;
    if (worker !== undefined) worker['env'] = [{ name: 'VERSION', value: '2' }];
    await shop.apply(pool);
    await eventually(async () => expect(await pods()).to.deep.include({ name: old?.name ?? '', isEnding: true }), slow);
    // The new pod takes what comes while the old one finishes.
    const next = await ask('next', 'primes.count', [10]);
    expect(await next()).to.equal(4);
    await shop.redis('RPUSH', 'e2e:gate', 'go');
    expect(await running()).to.deep.equal({ status: 200, bytes: 5 });
    expect(await shop.redis('LLEN', 'e2e:asked'), 'it ran once').to.equal('1');
    await eventually(async () => expect((await pods()).map(({ name }) => name)).not.to.include(old?.name), slow);
  });
});
