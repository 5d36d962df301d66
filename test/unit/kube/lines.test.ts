import { expect } from 'chai';
import fc from 'fast-check';
import { splitLines } from '../../../operator/kube/lines.ts';

async function* chunksOf(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  let start = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const end = Math.min(cut, bytes.length);
    if (end > start) yield await Promise.resolve(bytes.subarray(start, end));
    start = Math.max(start, end);
  }
  if (start < bytes.length) yield bytes.subarray(start);
}

async function collect(bytes: Buffer, cuts: readonly number[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of splitLines(chunksOf(bytes, cuts), () => undefined)) lines.push(line);
  return lines;
}

describe('splitLines', () => {
  it('gives the same lines however the bytes are cut, also inside a character', async () => {
    const line = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\n'));
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat(400)), async (lines, cuts) => {
        const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(''));
        expect(await collect(bytes, cuts)).to.deep.equal(lines.map((each) => Buffer.from(each).toString('utf8')));
      }),
    );
  });

  it('drops what has no end, and empty lines', async () => {
    expect(await collect(Buffer.from('a\n\nb\nhalf'), [])).to.deep.equal(['a', 'b']);
  });

  it('refuses a line without end before it fills the memory', async () => {
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) yield await Promise.resolve(Buffer.alloc(1024 * 1024, 120));
    }
    const drain = async (): Promise<void> => {
      for await (const line of splitLines(endless(), () => undefined)) expect.fail(line.slice(0, 10));
    };
    expect(String(await drain().catch((err: unknown) => err))).to.contain('longer than');
  });
});
