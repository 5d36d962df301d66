/** The public entry of the package: `import { task } from 'muster/worker'`. */
export { task, type Task, type TaskOptions } from './task/define.ts';
export type { TaskContext } from './task/context.ts';
export { Ignore, Reject, Retry, SoftTimeLimitExceeded, TimeLimitExceeded } from './task/errors.ts';
