import { expect } from 'chai';
import { PassThrough } from 'node:stream';
import { createLogger, redactUrls, type Logger } from '../../../operator/runtime/log.ts';

/** Everything that `write` logged, as objects. */
async function linesOf(
  write: (log: Logger) => void,
  level: 'debug' | 'info' = 'info',
): Promise<Record<string, unknown>[]> {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
  const log = createLogger(level, stream);
  write(log);
  await log.close();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('log', () => {
  it('writes one JSON object a line, with the fields of the child', async () => {
    const [line] = await linesOf((log) => log.child({ controller: 'workerpool' }).info('scaled', { from: 0, to: 3 }));
    expect(line).to.deep.include({ level: 'info', message: 'scaled', controller: 'workerpool', from: 0, to: 3 });
    expect(Object.keys(line ?? {}).slice(0, 3)).to.deep.equal(['timestamp', 'level', 'message']);
  });

  it('keeps message, stack, code and cause of an error', async () => {
    const err = new Error('outer', { cause: Object.assign(new Error('inner'), { code: 'ECONNRESET' }) });
    const [line] = await linesOf((log) => log.error('failed', { err }));
    expect(line?.['err']).to.deep.include({ name: 'Error', message: 'outer' });
    expect(line?.['err']).to.have.nested.property('cause.code', 'ECONNRESET');
    expect(line?.['err']).to.have.property('stack').that.contains('log.test');
  });

  it('drops lines below its level', async () => {
    expect(await linesOf((log) => log.debug('quiet'))).to.deep.equal([]);
    expect(await linesOf((log) => log.debug('loud'), 'debug')).to.have.length(1);
  });

  it('delivers every line before close resolves', async () => {
    const lines = await linesOf((log) => {
      for (let i = 0; i < 5000; i += 1) log.info('line', { i });
    });
    expect(lines).to.have.length(5000);
  });

  const urls: Record<string, [text: string, want: string]> = {
    'a password': ['redis://:secret@redis:6379/0 is down', 'redis://***@redis:6379/0 is down'],
    'a user and a password': ['at rediss://app:s3cr/et@host', 'at rediss://***@host'],
    'no password': ['redis://redis:6379/0', 'redis://redis:6379/0'],
  };
  for (const [name, [text, want]] of Object.entries(urls)) {
    it(`takes credentials out of a URL: ${name}`, async () => {
      expect(redactUrls(text)).to.equal(want);
      const [line] = await linesOf((log) => log.warn('broker', { err: new Error(text) }));
      expect(JSON.stringify(line)).not.to.contain('secret').and.not.to.contain('s3cr');
    });
  }
});
