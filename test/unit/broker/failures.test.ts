import { expect } from 'chai';
import { parseEndpoint, type BrokerEndpoint } from '../../../operator/broker/endpoint.ts';
import { connectionFailure, replyFailure, type BrokerFailureReason } from '../../../operator/broker/failures.ts';

const endpoint = ((): BrokerEndpoint => {
  const result = parseEndpoint({ url: 'redis://muster:topsecret@redis:6379/20' });
  if (result.kind === 'invalid') throw new Error(result.message);
  return result.endpoint;
})();

describe('failures', () => {
  const answers: Record<string, { text: string; wantReason: BrokerFailureReason; want: RegExp }> = {
    'a wrong password': {
      text: 'WRONGPASS invalid username-password pair or user is disabled.',
      wantReason: 'WrongPassword',
      want: /does not accept the user and password of the URL; correct them/,
    },
    'a wrong password on Redis 5': { text: 'ERR invalid password', wantReason: 'WrongPassword', want: /correct them/ },
    'no password where one is wanted': {
      text: 'NOAUTH Authentication required.',
      wantReason: 'WrongPassword',
      want: /the URL has none; add it/,
    },
    'a password where none is set': {
      text: 'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?',
      wantReason: 'WrongPassword',
      want: /take it out of the URL/,
    },
    'a user name on Redis 5': {
      text: "ERR wrong number of arguments for 'auth' command",
      wantReason: 'WrongPassword',
      want: /older than Redis 6/,
    },
    'a command that is not permitted': {
      text: "NOPERM this user has no permissions to run the 'llen' command",
      wantReason: 'NoPermission',
      want: /LLEN on celery; allow it in the user's ACL/,
    },
    'a database that is not there': {
      text: 'ERR DB index is out of range',
      wantReason: 'WrongDatabase',
      want: /has no database 20; write a number below/,
    },
    'a server that loads': {
      text: 'LOADING Redis is loading the dataset in memory',
      wantReason: 'Loading',
      want: /loading its data/,
    },
    'a replica': {
      text: "READONLY You can't write against a read only replica.",
      wantReason: 'ReadOnly',
      want: /address of the master/,
    },
    'a replica that lost its master': {
      text: "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
      wantReason: 'ReadOnly',
      want: /address of the master/,
    },
    'another type': {
      text: 'WRONGTYPE Operation against a key holding the wrong kind of value',
      wantReason: 'Unknown',
      want: /LLEN on celery looks; delete or rename/,
    },
    'no connection left': { text: 'ERR max number of clients reached', wantReason: 'Unreachable', want: /maxclients/ },
    'protected mode': {
      text: 'DENIED Redis is running in protected mode',
      wantReason: 'Unreachable',
      want: /protected/,
    },
    'a node of a cluster': {
      text: 'MOVED 866 10.0.0.1:6379',
      wantReason: 'Unknown',
      want: /Redis Cluster.*single Redis/,
    },
    'anything else': { text: 'ERR something new', wantReason: 'Unknown', want: /ERR something new/ },
  };
  for (const [name, tc] of Object.entries(answers)) {
    it(`says what ${name} means and what to do`, () => {
      const failure = replyFailure(endpoint, 'LLEN on celery', new Error(tc.text));
      expect(failure.reason).to.equal(tc.wantReason);
      expect(failure.message)
        .to.match(tc.want)
        .and.to.match(/^broker redis:6379\/20 /);
      expect(failure.message).not.to.match(/topsecret|muster:/);
    });
  }

  const connections: Record<string, { code: string; text?: string; wantReason: BrokerFailureReason; want: RegExp }> = {
    refused: { code: 'ECONNREFUSED', wantReason: 'Unreachable', want: /refused the connection; check/ },
    'an unknown host': { code: 'ENOTFOUND', wantReason: 'Unreachable', want: /does not resolve/ },
    'no DNS': { code: 'EAI_AGAIN', wantReason: 'Unreachable', want: /cluster DNS/ },
    'no answer': { code: 'ETIMEDOUT', wantReason: 'Unreachable', want: /did not answer in time/ },
    closed: { code: '', text: 'Connection is closed.', wantReason: 'Unreachable', want: /closed the connection/ },
    'an unknown authority': {
      code: 'SELF_SIGNED_CERT_IN_CHAIN',
      wantReason: 'TLSFailed',
      want: /give the authority in broker\.tls\.caFrom/,
    },
    'another name': { code: 'ERR_TLS_CERT_ALTNAME_INVALID', wantReason: 'TLSFailed', want: /another host name/ },
    'an old certificate': { code: 'CERT_HAS_EXPIRED', wantReason: 'TLSFailed', want: /expired; renew/ },
    'no TLS on the port': { code: 'EPROTO', wantReason: 'TLSFailed', want: /no TLS on that port.*write redis:\/\// },
  };
  for (const [name, tc] of Object.entries(connections)) {
    it(`says what ${name} means and what to do`, () => {
      const failure = connectionFailure(endpoint, Object.assign(new Error(tc.text ?? 'x'), { code: tc.code }));
      expect(failure.reason).to.equal(tc.wantReason);
      expect(failure.message).to.match(tc.want);
    });
  }
});
