/** What people watch Celery with, as they install and start it: Flower and celery-exporter. Neither knows of Muster. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import getPort from 'get-port';
import { ensureVenv } from './celery.ts';
import { eventually } from './eventually.ts';

/** What pip is asked for. The exporter is the one of danihodovic/celery-exporter, by its name in the package index. */
const requirements = {
  flower: ['flower==2.2.0', 'celery[redis]==5.7.0', 'kombu==5.7.0', 'redis==8.1.0'],
  exporter: ['prometheus-exporter-celery==0.11.2', 'celery==5.5.3', 'kombu==5.5.4', 'redis==5.3.1'],
} as const;

/** One that runs. */
export interface Monitor {
  /** What it answers at a path: the body of a 200. Rejects for anything else. */
  get(path: string): Promise<string>;
  /** Posts a form; the body of the answer. */
  post(path: string, form?: Readonly<Record<string, string>>): Promise<string>;
  stop(): Promise<void>;
}

/** Starts Flower on a broker. */
export async function startFlower(broker: string): Promise<Monitor> {
  const bin = await ensureVenv('celery', 'flower', 'Flower', requirements.flower);
  return startMonitor(
    join(bin, 'celery'),
    (port) => ['-b', broker, '--result-backend', broker, 'flower', '--address=127.0.0.1', `--port=${port}`],
    '/healthcheck',
  );
}

/** Starts celery-exporter on a broker. */
export async function startExporter(broker: string): Promise<Monitor> {
  const bin = await ensureVenv('celery', 'exporter', 'celery-exporter', requirements.exporter);
  // The package has no command of its own.
  const code = 'from src.cli import cli; cli()';
  return startMonitor(
    join(bin, 'python'),
    (port) => ['-c', code, '--broker-url', broker, '--host', '127.0.0.1', '--port', String(port)],
    '/health',
  );
}

async function startMonitor(
  command: string,
  args: (port: number) => readonly string[],
  healthPath: string,
): Promise<Monitor> {
  const port = await getPort({ host: '127.0.0.1' });
  const child = spawn(command, args(port), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', FLOWER_UNAUTHENTICATED_API: 'true' },
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const ask = async (path: string, init?: RequestInit): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path} answers ${answer.status}: ${text.slice(0, 200)}`);
    return text;
  };
  const monitor: Monitor = {
    get: (path) => ask(path),
    post: (path, form = {}) => ask(path, { method: 'POST', body: new URLSearchParams(form) }),
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
  try {
    await eventually(() => monitor.get(healthPath), { timeoutMs: 40_000, intervalMs: 50 });
  } catch (err) {
    await monitor.stop();
    throw new Error(`it did not start: ${output}`, { cause: err });
  }
  return monitor;
}
