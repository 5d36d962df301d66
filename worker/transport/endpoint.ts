/**
 * From the text of a broker or backend URL to the place and the account to connect to. Pure: it opens nothing. What is wrong
 * becomes one sentence that says what to write instead and never repeats the URL, because a URL carries a password.
 * The query options of TLS are those of kombu (kombu/transport/redis.py, redis-py's `ssl_*`).
 */

/** A Redis server, as one URL says. Holds credentials: it is handed to connections and to nothing else. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  /** Present for `rediss://`. */
  readonly tls?: {
    readonly verify: boolean;
    readonly checkHost: boolean;
    /** Paths of PEM files. */
    readonly caFile?: string;
    readonly certFile?: string;
    readonly keyFile?: string;
  };
  /** `host:port/db`: for people, logs and metrics. No credentials. */
  readonly display: string;
  /** Keeps the credentials out of anything that is logged as JSON. */
  toJSON(): string;
}

/** An endpoint, or the sentence (without a full stop) that says what is wrong with the URL. */
export type ParsedEndpoint =
  { readonly kind: 'ok'; readonly endpoint: Endpoint } | { readonly kind: 'invalid'; readonly why: string };

const example = 'redis://HOST:6379/0';

/**
 * Reads a `redis://` or `rediss://` URL as kombu reads it.
 * @param what what the URL is of, as the sentence names it: `broker` or `backend`
 */
export function parseEndpoint(text: string, what = 'broker'): ParsedEndpoint {
  const parsed = parse(text.trim(), what);
  return typeof parsed === 'string' ? { kind: 'invalid', why: parsed } : { kind: 'ok', endpoint: parsed };
}

function parse(text: string, what: string): Endpoint | string {
  if (text === '') return `the ${what} URL is empty; write it as ${example}`;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return `the ${what} URL has no scheme; write it as ${example}`;
  if (scheme !== 'redis' && scheme !== 'rediss') {
    return `the ${what} URL begins with ${scheme}://, and the Node worker speaks to Redis only; write ${example}, or rediss:// for TLS`;
  }
  if (text.includes(';')) return `the ${what} URL names several servers; write one, as ${example}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // The error of the parser repeats its input, and with it the password.
    return `the ${what} URL cannot be read; write it as ${example}, with special characters of the password percent-encoded`;
  }
  const host = unquote(url.hostname).replace(/^\[|\]$/g, '');
  if (host === '') return `the ${what} URL names no host; write it as ${example}`;
  const path = unquote(url.pathname).replace(/^\//, '');
  if (!/^\d{0,9}$/.test(path)) return `the path of the ${what} URL is not a database number; write it as ${example}`;
  const username = unquote(url.username);
  const password = unquote(url.password);
  const port = url.port === '' ? 6379 : Number(url.port);
  const display = `${host.includes(':') ? `[${host}]` : host}:${port}/${Number(path)}`;
  return {
    host,
    port,
    db: Number(path),
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(scheme === 'redis' ? {} : { tls: readTls(url.searchParams) }),
    display,
    toJSON: () => display,
  };
}

function readTls(query: URLSearchParams): NonNullable<Endpoint['tls']> {
  const file = (name: string): string | undefined => query.get(name) ?? undefined;
  const [caFile, certFile, keyFile] = [file('ssl_ca_certs'), file('ssl_certfile'), file('ssl_keyfile')];
  return {
    verify: !['none', 'cert_none'].includes((query.get('ssl_cert_reqs') ?? '').toLowerCase()),
    checkHost: query.get('ssl_check_hostname')?.toLowerCase() !== 'false',
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
  };
}

/** Percent-decoding that leaves alone what is not an escape, as Python's does. */
function unquote(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
