// `npm run demo`: reads the command line, and makes sure that what was started is taken down however the run ends.
import { runMain } from '../install/progress.ts';
import { claimMachine } from './claim.ts';
import { runDemo } from './demo.ts';
import { parseOptions } from './options.ts';
import { requireNodeMachine } from './ownCluster.ts';
import { jsonReport } from './report.ts';
import { createScreen } from './screen.ts';
import { createStop } from './stop.ts';
import { requireImages } from './usersCluster.ts';

await runMain(async () => {
  const options = parseOptions(process.argv);
  // What cannot work says so before anything is printed.
  if (options.context === undefined) requireNodeMachine();
  else requireImages(options);
  const giveBack = options.context === undefined ? await claimMachine() : undefined;
  const output = options.json ? process.stderr : process.stdout;
  const screen = createScreen(output);
  const stop = createStop(screen, output);
  try {
    const report = await runDemo(options, screen, stop);
    if (options.json) process.stdout.write(`${jsonReport(report)}\n`);
  } catch (err) {
    if (!stop.signal.aborted) throw err;
    process.exitCode = 130;
  } finally {
    screen.close();
    stop.close();
    await giveBack?.();
  }
});
