/** The task of the benchmark: nothing, so that only the worker is measured. */
import { task } from '../../../worker/index.ts';

/** Does nothing. */
export const noop = task('bench.noop', {}, () => null);
