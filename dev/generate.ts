// `npm run generate` writes everything that is made from the schema of the resource; with `--check` it writes nothing
// and fails when a file differs from what it would write.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { outputs, type Output } from './generate/outputs.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The text of a file as `npm run format` leaves it. */
async function renderFormatted({ path, render }: Output): Promise<string> {
  const filepath = join(root, path);
  return format(render(), { ...(await resolveConfig(filepath)), filepath });
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(join(root, path), 'utf8');
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw err;
  }
}

async function main(args: readonly string[]): Promise<void> {
  const unknown = args.find((arg) => arg !== '--check');
  if (unknown !== undefined) {
    console.error(`generate takes --check and nothing else, not ${unknown}`);
    process.exitCode = 2;
    return;
  }
  for (const output of outputs) {
    const text = await renderFormatted(output);
    if ((await readOrEmpty(output.path)) === text) continue;
    if (args.includes('--check')) {
      console.error(`${output.path} is not what the schema in operator/api gives; run: npm run generate`);
      process.exitCode = 1;
      continue;
    }
    await mkdir(dirname(join(root, output.path)), { recursive: true });
    await writeFile(join(root, output.path), text);
    console.log(`wrote ${output.path}`);
  }
}

await main(process.argv.slice(2));
