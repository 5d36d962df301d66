// Where everything that is built or downloaded is kept: outside the checkout, so that a fresh clone does not build again,
// and by version, so that two checkouts of different ages do not fight.
import { mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { lock } from 'proper-lockfile';

/** The cache folder: `$MUSTER_CACHE_DIR`, else `$XDG_CACHE_HOME/muster`, else `~/.cache/muster`. It need not exist yet. */
export function cacheDir(): string {
  const own = process.env['MUSTER_CACHE_DIR'];
  if (own !== undefined && own !== '') return own;
  const xdg = process.env['XDG_CACHE_HOME'];
  return join(xdg !== undefined && xdg !== '' ? xdg : join(homedir(), '.cache'), 'muster');
}

/** Whether something stands at `path` (a file, a folder, a socket). */
export async function pathExists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Makes `path` by calling `make` unless it exists; other processes that want it wait and then find it there.
 * `make` must put the finished thing in place by a rename, so that an interrupted run leaves nothing half-made.
 * Throws what `make` throws. Waits up to 30 minutes for another process; a process that died gives up its lock after 30 s.
 */
export async function makeOnce(path: string, make: () => Promise<void>, whileWaiting?: () => void): Promise<void> {
  if (await pathExists(path)) return;
  await withLock(
    path,
    async () => {
      if (!(await pathExists(path))) await make();
    },
    whileWaiting,
  );
}

/**
 * Runs `work` while holding the lock `<path>.lock`, across processes. `whileWaiting` is called once when another
 * process holds it, so that a user who waits is told why.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, whileWaiting?: () => void): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  let said = false;
  for (const deadlineMs = Date.now() + 30 * 60_000; ;) {
    try {
      const release = await lock(path, { realpath: false, stale: 30_000, update: 5_000, onCompromised: ignoreLoss });
      try {
        return await work();
      } finally {
        await release().catch(() => undefined);
      }
    } catch (err) {
      if (!isHeldElsewhere(err) || Date.now() > deadlineMs) throw err;
      if (!said) whileWaiting?.();
      said = true;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** A laptop that slept lets the lock go stale. The work goes on: at worst it is done twice, and a rename puts it in place. */
function ignoreLoss(): void {
  // The library's own answer would be an uncaught error in the middle of a build.
}

function isHeldElsewhere(err: unknown): boolean {
  return err instanceof Error && 'code' in err && err.code === 'ELOCKED' && 'file' in err;
}
