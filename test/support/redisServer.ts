/**
 * Real Redis servers for tests: each on a free port of the loopback, with a folder of its own, ended with the test
 * process. Faults are real too: a server is killed, loads a slow dump, becomes a replica, or loses a user's rights.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import getPort from 'get-port';
import { Redis } from 'ioredis';
import { CERTIFICATE_FILES, writeCertificates } from '../../dev/cluster/certificates.ts';
import { startProgram, type Program } from '../../dev/cluster/process.ts';
import { ensureRedisServer } from '../../dev/install/testTools.ts';
import { eventually } from './eventually.ts';

/** What differs from a plain server. */
export interface RedisServerOptions {
  /** Lines of redis.conf, by directive. */
  readonly config?: Readonly<Record<string, string | number>>;
  /** Speak TLS on the port, with a certificate for localhost and 127.0.0.1 of an own authority. */
  readonly tls?: boolean;
  /** Users, each as `ACL SETUSER` takes it: `muster on >pw ~* +llen`. */
  readonly users?: readonly string[];
}

/** A running server. */
export interface RedisServer {
  readonly port: number;
  /** Without credentials: `redis://127.0.0.1:port` (`rediss://localhost:port` with TLS); add `/db`. */
  readonly url: string;
  /** The authority that signed the certificate, with TLS. */
  readonly caPem: string;
  readonly pid: number;
  /** Runs one command as an administrator, past TLS and users. */
  command(name: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown>;
  /** An administrator's client that stays; closed by `stop`. */
  client(db?: number): Redis;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on its port after `kill`; other directives may be added. */
  start(config?: Readonly<Record<string, string | number>>): Promise<void>;
  /** A crash and a new start; with `keepData` the data is saved before. */
  restart(options?: {
    keepData?: boolean;
    config?: Readonly<Record<string, string | number>>;
    /** Do not wait until it has loaded its data. */
    wait?: boolean;
  }): Promise<void>;
  /** Ends it and deletes its folder. */
  stop(): Promise<void>;
}

const admin = { username: 'test-admin', password: 'test-admin-password' };

/** Starts a server. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const [dir, port, command] = await Promise.all([
    mkdtemp(join(tmpdir(), 'muster-redis-')),
    // Below the range of outgoing connections, so that the port is still free after a kill.
    getPort({ port: Array.from({ length: 20 }, () => 15_000 + Math.floor(Math.random() * 5_000)) }),
    ensureRedisServer(),
  ]);
  const socketPath = join(dir, 'redis.sock');
  const caPem = options.tls === true ? await writeCertificates(dir, ['localhost', '127.0.0.1']) : '';
  const clients = new Set<Redis>();
  let program: Program;

  const directives = (more: Readonly<Record<string, string | number>>): string[] => {
    const base = { bind: '127.0.0.1', port, dir, save: '""', appendonly: 'no', unixsocket: socketPath };
    const secured = {
      port: 0,
      'tls-port': port,
      'tls-cert-file': join(dir, CERTIFICATE_FILES.server),
      'tls-key-file': join(dir, CERTIFICATE_FILES.serverKey),
      'tls-auth-clients': 'no',
    };
    const all = { ...base, ...(options.tls === true ? secured : {}), ...options.config, ...more };
    return [
      ...Object.entries(all).map(([name, value]) => `${name} ${String(value)}`),
      `user ${admin.username} on >${admin.password} ~* &* +@all`,
      ...(options.users ?? []).map((user) => `user ${user}`),
    ];
  };

  const connect = (db = 0, retry = false): Redis => {
    const redis = new Redis({
      path: socketPath,
      ...admin,
      db,
      protocol: 2,
      lazyConnect: true,
      enableReadyCheck: false,
      disableClientInfo: true,
      maxRetriesPerRequest: retry ? 20 : 0,
      retryStrategy: () => (retry ? 20 : null),
    });
    redis.on('error', () => undefined);
    return redis;
  };

  const run = async (name: string, args: readonly (string | number | Buffer)[]): Promise<unknown> => {
    const redis = connect();
    try {
      await redis.connect();
      return await redis.call(name, ...args);
    } finally {
      redis.disconnect();
    }
  };

  const start = async (more: Readonly<Record<string, string | number>> = {}, wait = true): Promise<void> => {
    const conf = join(dir, 'redis.conf');
    const logPath = join(dir, 'redis.log');
    await writeFile(conf, `${directives(more).join('\n')}\n`);
    program = await startProgram({ command, args: [conf], logPath, outlivesParent: false });
    try {
      await eventually(
        async () => {
          if (!program.isRunning()) throw new Error('redis-server has ended');
          const answer = await run('PING', []).catch((err: unknown) => String(err));
          if (answer !== 'PONG' && !(answer as string).includes('LOADING')) throw new Error(String(answer));
          if (wait && answer !== 'PONG') throw new Error(String(answer));
        },
        { timeoutMs: 30_000 },
      );
    } catch (err) {
      throw new Error(`redis-server did not start: ${await readFile(logPath, 'utf8')}`, { cause: err });
    }
  };

  const kill = async (): Promise<void> => {
    if (program.isRunning()) process.kill(program.pid, 'SIGKILL');
    await program.ended();
  };

  await start();
  return {
    port,
    url: options.tls === true ? `rediss://localhost:${port}` : `redis://127.0.0.1:${port}`,
    caPem,
    get pid() {
      return program.pid;
    },
    command: (name, ...args) => run(name, args),
    client(db) {
      const redis = connect(db, true);
      clients.add(redis);
      return redis;
    },
    kill,
    start: (config) => start(config),
    async restart({ keepData = false, config, wait = true } = {}) {
      if (keepData) await run('SAVE', []);
      else await rm(join(dir, 'dump.rdb'), { force: true });
      await kill();
      await start(config, wait);
    },
    async stop() {
      for (const redis of clients) redis.disconnect();
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
