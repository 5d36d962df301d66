import { expect } from 'chai';
import { ConfigError, parseConfig } from '../../operator/config.ts';

const parse = (...argv: string[]) => {
  const parsed = parseConfig(argv, '1.2.3');
  if (parsed.kind === 'text') throw new Error(`asked for text: ${parsed.text}`);
  return parsed.config;
};

/** Runs `fn` with environment variables set, and takes them away again. */
const withEnv = <T>(env: Record<string, string>, fn: () => T): T => {
  Object.assign(process.env, env);
  try {
    return fn();
  } finally {
    for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name);
  }
};

describe('config', () => {
  it('has a default for every setting', () => {
    expect(parse()).to.deep.include({
      leaderElect: false,
      port: 8080,
      listenAddress: '127.0.0.1',
      logLevel: 'info',
      tickMs: 2000,
    });
  });

  it('takes a flag before the environment', () => {
    withEnv({ MUSTER_PORT: '9000', MUSTER_NAMESPACE: 'shop' }, () => {
      expect(parse('--port', '0')).to.deep.include({ port: 0, namespace: 'shop' });
    });
  });

  it('reads a switch of the environment as it is written: false does not switch it on', () => {
    withEnv({ MUSTER_LEADER_ELECT: 'false' }, () => expect(parse().leaderElect).to.equal(false));
    withEnv({ MUSTER_LEADER_ELECT: 'true' }, () => expect(parse().leaderElect).to.equal(true));
    expect(parse('--leader-elect').leaderElect).to.equal(true);
  });

  it('cannot be changed', () => {
    expect(Object.isFrozen(parse())).to.equal(true);
  });

  const wrong: Record<string, { argv: string[]; wantNamed: string }> = {
    'an unknown flag': { argv: ['--nmespace', 'x'], wantNamed: '--nmespace' },
    'a port that is none': { argv: ['--port', '70000'], wantNamed: '--port' },
    'a number that is none': { argv: ['--tick-ms', 'fast'], wantNamed: '--tick-ms' },
    'an unknown log level': { argv: ['--log-level', 'loud'], wantNamed: '--log-level' },
    'a stray word': { argv: ['start'], wantNamed: 'argument' },
  };
  for (const [name, tc] of Object.entries(wrong)) {
    it(`refuses ${name} with one sentence that names it`, () => {
      expect(() => parse(...tc.argv)).to.throw(ConfigError, tc.wantNamed);
    });
  }

  it('answers --help and --version with text, and does not start', () => {
    expect(parseConfig(['--version'], '1.2.3')).to.deep.equal({ kind: 'text', text: '1.2.3\n' });
    expect(parseConfig(['--help'], '1.2.3')).to.have.property('kind', 'text');
  });
});
