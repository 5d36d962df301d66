import { expect } from 'chai';
import fc from 'fast-check';
import { parseEndpoint, type BrokerEndpoint, type RedisAddress } from '../../../operator/broker/endpoint.ts';

const parsed = (url: string, more: Partial<Parameters<typeof parseEndpoint>[0]> = {}): BrokerEndpoint => {
  const result = parseEndpoint({ url, ...more });
  if (result.kind === 'invalid') throw new Error(result.message);
  return result.endpoint;
};

describe('parseEndpoint', () => {
  const good: Record<string, { url: string; wantDisplay: string; wantAddress: Partial<RedisAddress> }> = {
    'a host alone gets the default port and database': {
      url: 'redis://redis',
      wantDisplay: 'redis:6379/0',
      wantAddress: { host: 'redis', port: 6379, db: 0 },
    },
    'port and database': {
      url: 'redis://redis.shop.svc:7000/12',
      wantDisplay: 'redis.shop.svc:7000/12',
      wantAddress: { port: 7000, db: 12 },
    },
    'a password without a user, as Celery users write it': {
      url: 'redis://:s3cret@redis/1',
      wantDisplay: 'redis:6379/1',
      wantAddress: { password: 's3cret' },
    },
    'a user and a percent-encoded password': {
      url: 'redis://muster:p%40ss%2Fword@redis:6379/',
      wantDisplay: 'redis:6379/0',
      wantAddress: { username: 'muster', password: 'p@ss/word' },
    },
    'a password with a lone percent sign is taken as it is': {
      url: 'redis://:100%sure@redis',
      wantDisplay: 'redis:6379/0',
      wantAddress: { password: '100%sure' },
    },
    'white space around, as Secrets made from files have it': {
      url: ' redis://redis:6379/3\n',
      wantDisplay: 'redis:6379/3',
      wantAddress: { db: 3 },
    },
    'an IPv6 address': {
      url: 'redis://[::1]:6380/0',
      wantDisplay: '[::1]:6380/0',
      wantAddress: { host: '::1', port: 6380 },
    },
    'TLS, verified unless said otherwise': {
      url: 'rediss://redis:6380',
      wantDisplay: 'redis:6380/0',
      wantAddress: { tls: { verify: true, checkHost: true } },
    },
    'TLS that Celery does not verify is not verified here either': {
      url: 'rediss://redis?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=false',
      wantDisplay: 'redis:6379/0',
      wantAddress: { tls: { verify: false, checkHost: false } },
    },
  };
  for (const [name, tc] of Object.entries(good)) {
    it(`reads ${name}`, () => {
      const endpoint = parsed(tc.url);
      expect(endpoint.display).to.equal(tc.wantDisplay);
      expect(endpoint.redis).to.deep.include(tc.wantAddress);
      expect(endpoint.prioritySteps).to.deep.equal([0, 3, 6, 9]);
    });
  }

  const bad: Record<string, { url: string; caPem?: string; want: RegExp }> = {
    nothing: { url: '', want: /is empty; write it as redis:\/\/HOST:6379\/0/ },
    'no scheme': { url: 'redis:6379', want: /has no scheme; write it as redis:\/\// },
    'another scheme': { url: 'http://redis', want: /begins with http:\/\/.*write redis:\/\/HOST/ },
    RabbitMQ: { url: 'amqp://u:topsecret@mq//', want: /RabbitMQ is not supported yet/ },
    Sentinel: { url: 'sentinel://:topsecret@a:26379;sentinel://b', want: /Sentinel is not supported yet/ },
    'a socket file': { url: 'redis+socket:///tmp/r.sock', want: /cannot be reached from a pod/ },
    'several brokers': { url: 'redis://:topsecret@a;redis://b', want: /several brokers; write one/ },
    'no host': { url: 'redis:///0', want: /names no host/ },
    'a port that is no number': { url: 'redis://:topsecret@redis:port/0', want: /cannot be read.*percent-encoded/ },
    'a password with a slash': { url: 'redis://:top/secret@redis/0', want: /cannot be read|names no host/ },
    'a database name': { url: 'redis://:topsecret@redis/celery', want: /not a database number/ },
    'a negative database': { url: 'redis://redis/-1', want: /not a database number/ },
    'an authority without TLS': { url: 'redis://redis', caPem: 'x', want: /write rediss:\/\/ to use TLS/ },
    'an authority that is no certificate': { url: 'rediss://redis', caPem: 'x', want: /BEGIN CERTIFICATE/ },
  };
  for (const [name, { want, ...input }] of Object.entries(bad)) {
    it(`refuses ${name} in one sentence, without its credentials`, () => {
      const result = parseEndpoint(input);
      if (result.kind !== 'invalid') throw new Error('it was accepted');
      expect(result.message).to.match(want);
      expect(result.message).not.to.match(/secret/);
    });
  }

  it('reads back any user and password that is percent-encoded', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (username, password) => {
        const url = `redis://${encodeURIComponent(username)}:${encodeURIComponent(password)}@redis:6379/5`;
        expect(parsed(url).redis).to.deep.include({ username, password, host: 'redis', db: 5 });
      }),
    );
  });

  it('never throws, whatever it is given', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseEndpoint({ url: `redis://${text}` })));
    fc.assert(fc.property(fc.string(), (text) => void parseEndpoint({ url: text })));
  });

  it('has one identity for what is written the same, and another as soon as the password differs', () => {
    const one = parsed('redis://:a@redis/0', { keyPrefix: 'x' });
    expect(parsed('redis://:a@redis/0', { keyPrefix: 'x' }).id).to.equal(one.id);
    expect(parsed('redis://:b@redis/0', { keyPrefix: 'x' }).id).not.to.equal(one.id);
    expect(parsed('redis://:a@redis/0', { keyPrefix: 'y' }).id).not.to.equal(one.id);
    expect(parsed('redis://:a@redis/0', { keyPrefix: 'x', prioritySteps: [0] }).id).not.to.equal(one.id);
  });

  it('has a hash that names the place, whoever looks at it', () => {
    const one = parsed('redis://:a@redis/0');
    expect(one.hash).to.match(/^[0-9a-f]{10}$/);
    expect(parsed('redis://u:b@redis:6379/0').hash).to.equal(one.hash);
    expect(parsed('redis://:a@redis/1').hash).not.to.equal(one.hash);
    expect(parsed('redis://:a@redis/0', { keyPrefix: 'x' }).hash).not.to.equal(one.hash);
  });

  it('shows no credentials when it is logged as JSON', () => {
    expect(JSON.stringify({ endpoint: parsed('redis://u:topsecret@redis/0') })).to.equal('{"endpoint":"redis:6379/0"}');
  });
});
