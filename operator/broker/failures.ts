/**
 * What a broker's failure means, in one sentence that names the cause and what to do. Nothing here repeats a URL, a
 * user name, a password or the arguments of a command: the sentences end up in status, events and logs.
 */
import type { BrokerEndpoint } from './endpoint.ts';

/** Why a broker cannot be read, as it appears in a condition's reason. */
export type BrokerFailureReason =
  'Unreachable' | 'WrongPassword' | 'NoPermission' | 'WrongDatabase' | 'Loading' | 'ReadOnly' | 'TLSFailed' | 'Unknown';

/** The failure of a broker, ready to be shown. */
export class BrokerError extends Error {
  readonly reason: BrokerFailureReason;

  constructor(reason: BrokerFailureReason, message: string) {
    super(message);
    this.name = 'BrokerError';
    this.reason = reason;
  }
}

type Shown = Pick<BrokerEndpoint, 'display' | 'redis'>;

const notReached: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection; check that Redis runs there and that host and port are right',
  ENOTFOUND: 'has a host name that does not resolve; check the name and its namespace',
  EAI_AGAIN: 'has a host name that cannot be resolved now; check the name and the cluster DNS',
  ETIMEDOUT: 'did not answer in time; check the address and that a network policy lets the operator through',
  EHOSTUNREACH: 'cannot be reached by any route; check the address',
  ENETUNREACH: 'cannot be reached by any route; check the address',
  ECONNRESET: 'closed the connection; check that Redis listens there and whether it expects rediss:// (TLS)',
  EPIPE: 'closed the connection; check that Redis listens there and whether it expects rediss:// (TLS)',
};

const tlsCodes =
  /^(ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH|INVALID_PURPOSE)/;

/** The meaning of a connection that could not be made or that ended. */
export function connectionFailure(endpoint: Shown, err: unknown): BrokerError {
  if (err instanceof BrokerError) return err;
  if (isReplyError(err)) return replyFailure(endpoint, 'AUTH', err);
  // A server without a connection left says so unasked and hangs up; ioredis quotes it.
  const quoted = err instanceof Error ? /Last error: (.*)/.exec(err.message)?.[1] : undefined;
  if (quoted !== undefined) return replyFailure(endpoint, 'the connection', new Error(quoted));
  const code = err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : '';
  const text = err instanceof Error ? err.message : '';
  const broker = `broker ${endpoint.display}`;
  if (tlsCodes.test(code) || text.includes('before secure TLS connection')) {
    return new BrokerError('TLSFailed', `${broker}: the TLS handshake failed: ${tlsCause(code)}`);
  }
  const sentence = notReached[code];
  if (sentence !== undefined) return new BrokerError('Unreachable', `${broker} ${sentence}`);
  const what = code === '' ? 'closed the connection' : `cannot be reached (${code})`;
  return new BrokerError('Unreachable', `${broker} ${what}; check that Redis runs there and has connections left`);
}

function tlsCause(code: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH') {
    return 'its certificate is for another host name; write the name that the certificate carries';
  }
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired; renew it';
  if (/SELF_SIGNED|UNABLE_TO|DEPTH_ZERO|CERT_|INVALID_CA/.test(code)) {
    return `its certificate is not signed by a known authority (${code}); give the authority in broker.tls.caFrom`;
  }
  return `no TLS on that port, or no common version (${code === '' ? 'connection closed' : code}); write redis:// if the broker speaks no TLS`;
}

/** Whether this is an answer of Redis rather than a failure of the connection. */
export function isReplyError(err: unknown): err is Error {
  return err instanceof Error && err.name === 'ReplyError';
}

/**
 * The meaning of an error that Redis answered.
 * @param command what was asked, with a key where one is concerned; never its other arguments
 */
export function replyFailure(endpoint: Shown, command: string, err: Error): BrokerError {
  const broker = `broker ${endpoint.display}`;
  const text = err.message;
  const code = /^[A-Z]+/.exec(text)?.[0] ?? '';
  const failure = (reason: BrokerFailureReason, sentence: string): BrokerError =>
    new BrokerError(reason, `${broker} ${sentence}`);
  if (code === 'NOAUTH') return failure('WrongPassword', 'wants a password and the URL has none; add it to the URL');
  if (code === 'WRONGPASS' || text.includes('invalid password') || text.includes('invalid username-password')) {
    return failure('WrongPassword', 'does not accept the user and password of the URL; correct them in the URL');
  }
  if (text.includes('no password is set') || text.includes('without any password configured')) {
    return failure(
      'WrongPassword',
      'has no password set, and Celery fails when the URL gives one; take it out of the URL',
    );
  }
  if (text.includes("wrong number of arguments for 'auth'")) {
    return failure('WrongPassword', 'is older than Redis 6 and knows no user names; take the user out of the URL');
  }
  if (code === 'NOPERM') {
    return failure('NoPermission', `does not permit the user of the URL to run ${command}; allow it in the user's ACL`);
  }
  if (text.includes('DB index is out of range') || text.includes('invalid DB index')) {
    return failure(
      'WrongDatabase',
      `has no database ${String(endpoint.redis.db)}; write a number below its setting "databases" (16 by default)`,
    );
  }
  if (code === 'LOADING')
    return failure('Loading', 'is loading its data after a start; it is asked again until it is done');
  if (code === 'READONLY' || code === 'MASTERDOWN') return readOnlyFailure(endpoint);
  if (code === 'WRONGTYPE') {
    return failure('Unknown', `holds something else than a queue where ${command} looks; delete or rename that key`);
  }
  if (text.includes('max number of clients')) {
    return failure('Unreachable', 'has no connection left (setting "maxclients"); raise it or close other clients');
  }
  if (code === 'DENIED') {
    return failure(
      'Unreachable',
      'runs in protected mode and accepts only local clients; set a password or a bind address',
    );
  }
  if (code === 'MOVED' || code === 'CLUSTERDOWN' || code === 'CROSSSLOT') {
    return failure('Unknown', 'is a node of a Redis Cluster, which Celery cannot use as a broker; use a single Redis');
  }
  return failure('Unknown', `answered ${command} with an error: ${text.slice(0, 120)}`);
}

/** The broker is a replica: it can be read, but no worker could take a task from it. */
export function readOnlyFailure(endpoint: Shown): BrokerError {
  return new BrokerError(
    'ReadOnly',
    `broker ${endpoint.display} is a read-only replica, from which no worker can take a task; write the address of the master`,
  );
}

/** The broker took longer than it may. */
export function timeoutFailure(endpoint: Shown, timeoutMs: number): BrokerError {
  return new BrokerError(
    'Unreachable',
    `broker ${endpoint.display} did not answer within ${String(timeoutMs / 1000)} s; check its load and the network between`,
  );
}
