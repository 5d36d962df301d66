/** The public entry of the package: `import { task } from 'muster/worker'`. */
export { task, type Task, type TaskOptions } from './task/define.ts';
export type { TaskContext } from './task/context.ts';
export { Ignore, Reject, Retry, SoftTimeLimitExceeded, TimeLimitExceeded } from './task/errors.ts';
export { createClient, type Client, type ClientOptions, type SendOptions } from './client/client.ts';
export { ResultTimeoutError, type AsyncResult, type GetOptions } from './client/asyncResult.ts';
export type { RouteTable } from './client/routes.ts';
export {
  chain,
  chord,
  chunks,
  group,
  link,
  linkError,
  map,
  sig,
  stamp,
  starmap,
  type SignatureOptions,
} from './canvas/builders.ts';
export { CeleryDate, CeleryDateTime, CeleryTime, Decimal, Uuid } from './protocol/values.ts';
export type { Signature } from './protocol/signature.ts';
export { RemoteTaskError } from './protocol/failure.ts';
