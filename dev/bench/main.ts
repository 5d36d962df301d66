/**
 * `npm run bench`: how fast the operator reacts and what it costs, on a real API server and a real Redis. Nothing is
 * asserted by time: the exit code says whether everything worked, the table how well.
 */
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { execa } from 'execa';
import { runMain, sayOnStderr as say } from '../install/progress.ts';
import { run } from './run.ts';
import { formatTable } from './report.ts';
import { tableOf } from './results.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number from 1 on is needed.');
  return value;
};
const option = (flags: string, description: string, value: number): Option =>
  new Option(flags, description).argParser(count).default(value);

const program = new Command('bench')
  .description(
    'Measures reaction times and what an idle fleet costs, on a real API server and a real Redis. 6 minutes.',
  )
  .addOption(option('--pools <n>', 'pools on one broker', 1000))
  .addOption(option('--namespaces <n>', 'namespaces that they are spread over', 10))
  .addOption(option('--idle-seconds <s>', 'how long the idle fleet is watched', 60))
  .addOption(option('--samples <n>', 'reactions measured from zero', 200))
  .option(
    '--profile <folder>',
    "also writes CPU profiles of the operators to this folder (open them in Chrome's DevTools)",
  )
  .option('--json', 'prints everything as one JSON object on the last line', false);

await runMain(async () => {
  await program.parseAsync();
  const options = program.opts<{
    pools: number;
    namespaces: number;
    idleSeconds: number;
    samples: number;
    profile?: string;
    json: boolean;
  }>();
  say('bundling the operator');
  await execa(process.execPath, ['--import=tsx', 'dev/build.ts'], { cwd: root });
  const { size } = await stat(new URL('../../dist/operator.mjs', import.meta.url));
  const results = await run({ ...options, bundleMiB: size / 2 ** 20 }, say);
  console.log(formatTable(tableOf(results)));
  if (options.json) console.log(JSON.stringify(results));
});
