/**
 * From the text of a broker URL to the place and the account to connect to. Pure: it opens nothing and reads no file.
 * What is wrong becomes one sentence that says what to write instead, and never repeats the URL, because a URL carries
 * a password and the sentence ends up in a pool's status, where many people can read it.
 */
import { createHash, X509Certificate } from 'node:crypto';

/** The priority steps that kombu uses when an app sets none. */
export const defaultPrioritySteps: readonly number[] = [0, 3, 6, 9];

/** Where to connect, and as whom. Holds credentials: it is handed to the connection and to nothing else. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  /** Present for `rediss://`. */
  readonly tls?: { readonly verify: boolean; readonly checkHost: boolean };
}

/** One broker as one pool writes it. Two pools that write the same share one sampler. */
export interface BrokerEndpoint {
  /** Hash of everything, credentials included: what sharing goes by. Never printed. */
  readonly id: string;
  /** Ten hex digits of scheme, host, port, database and key prefix: names objects of this broker. No credentials. */
  readonly hash: string;
  /** The URL as it was written, with its credentials. Never printed. */
  readonly url: string;
  /** The certificate authority in PEM that signs the broker's certificate. */
  readonly caPem?: string;
  /** What the app's `global_keyprefix` puts before its keys. */
  readonly keyPrefix?: string;
  /** The priority steps, ascending. */
  readonly prioritySteps: readonly number[];
  /** `host:port/db`: for people, logs and metrics. No credentials. */
  readonly display: string;
  readonly redis: RedisAddress;
  /** Keeps the credentials out of anything that is logged as JSON. */
  toJSON(): string;
}

/** An endpoint, or the sentence that says what is wrong with it. */
export type ParsedEndpoint =
  { readonly kind: 'ok'; readonly endpoint: BrokerEndpoint } | { readonly kind: 'invalid'; readonly message: string };

const example = 'redis://HOST:6379/0';
const notYet: Readonly<Record<string, string>> = {
  amqp: 'RabbitMQ is not supported yet',
  amqps: 'RabbitMQ is not supported yet',
  sentinel: 'Redis Sentinel is not supported yet',
  'redis+sentinel': 'Redis Sentinel is not supported yet',
  'redis+socket': 'a socket file of one machine cannot be reached from a pod',
  unix: 'a socket file of one machine cannot be reached from a pod',
};

/** Reads a `redis://` or `rediss://` URL as kombu reads it. */
export function parseEndpoint(input: {
  readonly url: string;
  readonly caPem?: string;
  readonly keyPrefix?: string;
  readonly prioritySteps?: readonly number[];
}): ParsedEndpoint {
  const url = input.url.trim();
  const address = parseAddress(url);
  if (typeof address === 'string') return { kind: 'invalid', message: address };
  if (input.caPem !== undefined) {
    const problem = caProblem(input.caPem, address);
    if (problem !== undefined) return { kind: 'invalid', message: problem };
  }
  const prioritySteps = [...new Set(input.prioritySteps ?? defaultPrioritySteps)].sort((a, b) => a - b);
  const keyPrefix = input.keyPrefix ?? '';
  const { host, port, db, tls } = address;
  const hostPort = `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
  const display = `${hostPort}/${String(db)}`;
  const scheme = tls === undefined ? 'redis' : 'rediss';
  return {
    kind: 'ok',
    endpoint: {
      id: digest([url, input.caPem ?? '', keyPrefix, prioritySteps.join()]),
      hash: digest([scheme, hostPort, String(db), keyPrefix]).slice(0, 10),
      url,
      ...(input.caPem === undefined ? {} : { caPem: input.caPem }),
      ...(keyPrefix === '' ? {} : { keyPrefix }),
      prioritySteps,
      display,
      redis: address,
      toJSON: () => display,
    },
  };
}

/** The address, or what is wrong with the URL. */
function parseAddress(text: string): RedisAddress | string {
  if (text === '') return `the broker URL is empty; write it as ${example}`;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return `the broker URL has no scheme; write it as ${example}`;
  if (scheme !== 'redis' && scheme !== 'rediss') {
    const why = notYet[scheme] ?? `${scheme}:// is not a scheme of Redis`;
    return `the broker URL begins with ${scheme}://, and ${why}; write ${example}, or rediss:// for TLS`;
  }
  if (text.includes(';')) return `the broker URL names several brokers; write one, as ${example}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // The error of the parser repeats its input, and with it the password.
    return `the broker URL cannot be read; write it as ${example}, with special characters of the password percent-encoded`;
  }
  const host = unquote(url.hostname).replace(/^\[|\]$/g, '');
  if (host === '') return `the broker URL names no host; write it as ${example}`;
  const path = unquote(url.pathname).replace(/^\//, '');
  if (!/^\d{0,9}$/.test(path)) {
    return `the path of the broker URL is not a database number; write it as ${example}`;
  }
  const username = unquote(url.username);
  const password = unquote(url.password);
  const query = url.searchParams;
  return {
    host,
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(path),
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(scheme === 'redis'
      ? {}
      : {
          tls: {
            verify: !['none', 'cert_none'].includes((query.get('ssl_cert_reqs') ?? '').toLowerCase()),
            checkHost: query.get('ssl_check_hostname')?.toLowerCase() !== 'false',
          },
        }),
  };
}

function caProblem(caPem: string, address: RedisAddress): string | undefined {
  if (address.tls === undefined) {
    return 'a certificate authority is given but the broker URL begins with redis://; write rediss:// to use TLS';
  }
  try {
    new X509Certificate(caPem);
    return undefined;
  } catch {
    return 'the certificate authority of the broker is not a certificate in PEM; give the file that begins with -----BEGIN CERTIFICATE-----';
  }
}

/** Percent-decoding that leaves alone what is not an escape, as Python's does. */
function unquote(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function digest(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
