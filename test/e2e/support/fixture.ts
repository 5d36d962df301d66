/** Mocha's hook around all end-to-end tests: one cluster for all of them, taken down at the end. */
import { releaseEnvironment } from './environment.ts';

export const mochaGlobalTeardown = async (): Promise<void> => {
  await releaseEnvironment();
};
