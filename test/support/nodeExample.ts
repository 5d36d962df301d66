/**
 * The package `muster` as npm makes it, and examples/node-worker on it: by the commands of the example's README, in a copy of
 * the repository, so that `dist/` here stays as it is.
 */
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const root = fileURLToPath(new URL('../..', import.meta.url));
const copied = ['operator', 'worker', 'dev', 'package.json', 'tsconfig.json', 'LICENSE', 'examples/node-worker/'];

/** A built example. */
export interface NodeExample {
  /** Its folder, with `node_modules` and `dist`. */
  readonly dir: string;
  /** The first command of the README that begins with these words. */
  command(words: string): string;
  remove(): Promise<void>;
}

/** Builds it: about half a minute, and npm fetches packages or has them in its cache. */
export async function buildNodeExample(): Promise<NodeExample> {
  const copy = await mkdtemp(join(tmpdir(), 'muster-example-'));
  const isSource = (path: string): boolean => !/\/(node_modules|dist)(\/|$)|\.tgz$/.test(path.slice(root.length));
  for (const name of copied) await cp(join(root, name), join(copy, name), { recursive: true, filter: isSource });
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  const dir = join(copy, 'examples/node-worker');
  const commands = commandsOf(await readFile(join(dir, 'README.md'), 'utf8'));
  const build = commands.slice(
    0,
    commands.findIndex((command) => command.startsWith('export ')),
  );
  // What `npm ci` would do is there: the link.
  const script = ['set -e', ...build.filter((command) => command !== 'npm ci')].join('\n');
  await execa('sh', ['-c', script], { cwd: copy, env: { npm_config_prefer_offline: 'true' }, all: true });
  return {
    dir,
    command(words) {
      const found = commands.find((command) => command.startsWith(words));
      if (found === undefined) throw new Error(`the README of the example has no command that begins with ${words}`);
      return found;
    },
    remove: () => rm(copy, { recursive: true, force: true }),
  };
}

/** What a reader types: the lines of a page that begin with a dollar. */
function commandsOf(page: string): string[] {
  return [...page.matchAll(/^\$ (.+)$/gm)].map(([, command = '']) => command);
}
