// One demo at a time on a machine: two would share one cluster, and measure each other.
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { lock } from 'proper-lockfile';
import { cacheDir } from '../install/cacheDir.ts';
import { MissingError } from '../install/progress.ts';

/** Claims this machine; resolves to what gives it back. Throws MissingError when another demo has it. */
export async function claimMachine(): Promise<() => Promise<void>> {
  const path = join(cacheDir(), 'demo', 'running');
  await mkdir(dirname(path), { recursive: true });
  try {
    const release = await lock(path, { realpath: false, stale: 30_000, update: 5_000, onCompromised: () => undefined });
    return () => release().catch(() => undefined);
  } catch (err) {
    throw new MissingError(
      'another demo is running on this machine: wait until it ends (one that was killed is forgotten after 30 s).',
      { cause: err },
    );
  }
}
