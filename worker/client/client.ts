/**
 * Sends tasks to any Celery worker, in Python or Node, and waits for their results. The connection is made with the first
 * task, and made again whenever it is lost; `close` ends it, and with it what keeps the process alive.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { parseEndpoint, type BrokerEndpoint } from '../../operator/broker/endpoint.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { brokerKeys, resultKeys } from '../protocol/keys.ts';
import { buildMessage } from '../protocol/message.ts';
import type { Signature } from '../protocol/signature.ts';
import { createResultWatch } from '../results/watch.ts';
import { isTask, type Task } from '../task/define.ts';
import { signatureOptions, type SignatureOptions } from '../canvas/builders.ts';
import type { Promised } from '../canvas/draft.ts';
import { createAsyncResult, createGroupResult, type AsyncResult } from './asyncResult.ts';
import { createCanvasSender } from './canvas.ts';
import { createRouter, type RouteTable } from './routes.ts';
import { createSender } from './sender.ts';

/** Where tasks go and results come from. */
export interface ClientOptions {
  /** `redis://` or `rediss://`. */
  readonly broker: string;
  /** Where workers store results. Default: none, and `get` says so. */
  readonly backend?: string;
  /** The certificate authority of `rediss://` servers, PEM. Default: those that Node knows. */
  readonly caPem?: string;
  /** Which task goes to which queue, in the form of Celery's `task_routes`. Default: all to `defaultQueue`. */
  readonly routes?: RouteTable;
  /** The queue of a task that no route names. Default: `celery`, as in Celery. */
  readonly defaultQueue?: string;
  /** The broker's `global_keyprefix`. Default: empty. */
  readonly keyPrefix?: string;
  /** The backend's `global_keyprefix`. Default: empty. */
  readonly resultKeyPrefix?: string;
  /** The broker's `priority_steps`. Default: 0, 3, 6, 9. */
  readonly prioritySteps?: readonly number[];
  /** How long workers keep results, and Redis what it knows of a chord, in seconds; 0 for ever. Default: 86,400. */
  readonly resultExpiresSeconds?: number;
  /** The most that connecting or a round trip may take, in milliseconds. Default: 5,000. */
  readonly timeoutMs?: number;
  /** How long `send` goes on trying while the broker is gone, in milliseconds. Default: 30,000. */
  readonly giveUpMs?: number;
}

/** How one task is sent; what is left out is as Celery's default. */
export interface SendOptions {
  /** Keyword arguments; a task of the Node worker finds them in `ctx.kwargs`. */
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Default: by the routes. */
  readonly queue?: string;
  /** 0 (served first) to 9. Default: 0. */
  readonly priority?: number;
  /** Default: a new uuid4. */
  readonly id?: string;
  /** Not before so many seconds from now; a negative number is at once. Not together with `eta`. */
  readonly countdownSeconds?: number;
  /** Not before this time. */
  readonly eta?: Date;
  /** Not after so many seconds from now. Not together with `expires`. */
  readonly expiresSeconds?: number;
  /** Not after this time. */
  readonly expires?: Date;
  readonly timeLimitSeconds?: number;
  readonly softTimeLimitSeconds?: number;
  /** No result is stored, and `get` says so. Default: false. */
  readonly ignoreResult?: boolean;
  /** Sent with the result after success. */
  readonly callbacks?: readonly Signature[];
  /** Sent after a failure. */
  readonly errbacks?: readonly Signature[];
  /** More headers of the message. */
  readonly headers?: Readonly<Record<string, unknown>>;
  /** Shown for the arguments by Flower and in events; set it to hide secrets. Default: the arguments as Python shows them. */
  readonly argsRepr?: string;
  readonly kwargsRepr?: string;
}

/** Sends tasks. */
export interface Client {
  /**
   * Sends a task; resolves when the broker has it. Tasks that are sent in one turn of the event loop share a round trip.
   * Rejects with ProtocolError for arguments that JSON cannot hold, with TypeError for options that contradict each other,
   * and with BrokerError when the broker did not take it in time.
   */
  send<Args extends unknown[], Result>(
    task: Task<Args, Result>,
    args: Args,
    options?: SendOptions,
  ): Promise<AsyncResult<Result>>;
  send(task: string, args?: readonly unknown[], options?: SendOptions): Promise<AsyncResult>;
  /**
   * Sends what `sig`, `chain`, `group`, `chord`, `map` … made. The result is that of the last task, of the body of a chord,
   * or of a group: the list of its values. Rejects with TypeError for a chord when the client has no backend.
   */
  send(canvas: Signature, options?: SignatureOptions): Promise<AsyncResult>;
  /** A task that somebody else sent. */
  result<Result = unknown>(id: string): AsyncResult<Result>;
  /** Waits for what is on its way, ends waits for results, and closes the connections. */
  close(): Promise<void>;
}

const noBackend = 'the client has no result backend; give createClient a backend URL';
const ignored = 'no result is stored for this task: it was sent with ignoreResult';

/**
 * Builds a client.
 * @throws TypeError with one sentence for a URL or a routing table that cannot be used; it never repeats the URL
 */
export function createClient(options: ClientOptions): Client {
  const { defaultQueue = 'celery', keyPrefix, prioritySteps, timeoutMs = 5_000, giveUpMs = 30_000 } = options;
  const clock = systemClock;
  const keys = brokerKeys({
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(prioritySteps === undefined ? {} : { prioritySteps }),
  });
  const route = createRouter(options.routes ?? {});
  const sender = createSender({
    endpoint: endpointOf(options.broker, 'broker', options.caPem),
    clock,
    timeoutMs,
    giveUpMs,
  });
  const backend = options.backend === undefined ? undefined : endpointOf(options.backend, 'backend', options.caPem);
  const keysOfResults = resultKeys(options.resultKeyPrefix);
  const watch =
    backend === undefined ? undefined : createResultWatch({ endpoint: backend, clock, timeoutMs, keys: keysOfResults });
  const origin = `gen${process.pid}@${hostname()}`;
  const queueOf = (task: string): string => route(task) ?? defaultQueue;
  const ids = { newId: () => randomUUID(), replyTo: randomUUID() };
  const canvasSender = createCanvasSender({
    ...{ sender, backend, clock, timeoutMs, giveUpMs },
    author: () => ({
      ...{ ids, resultKeys: keysOfResults, keepSeconds: options.resultExpiresSeconds ?? 86_400, nowMs: clock.now() },
      ...{ routing: { keys, queueOf, origin }, rootId: undefined, parentId: undefined },
    }),
  });

  const sendCanvas = async (signature: Signature, settings: SignatureOptions): Promise<AsyncResult> => {
    const isIgnored = settings.ignoreResult ?? signature.options['ignore_result'] === true;
    const resultOf = ({ id, members }: Promised): AsyncResult =>
      members === undefined
        ? createAsyncResult(id, isIgnored ? ignored : (watch ?? noBackend))
        : createGroupResult(id, members.map(resultOf));
    return resultOf(await canvasSender.send(signature, signatureOptions(settings)));
  };

  const send = async (
    task: string | Task | Signature,
    argsOrSettings: readonly unknown[] | SignatureOptions = [],
    settings: SendOptions = {},
  ): Promise<AsyncResult> => {
    if (typeof task !== 'string' && !isTask(task)) {
      return sendCanvas(task, Array.isArray(argsOrSettings) ? {} : (argsOrSettings as SignatureOptions));
    }
    const args = argsOrSettings as readonly unknown[];
    const { queue, id = randomUUID(), priority = 0, countdownSeconds, expiresSeconds, ...rest } = settings;
    const { eta, expires, ...passed } = rest;
    const name = typeof task === 'string' ? task : task.name;
    const nowMs = clock.now();
    const etaMs = moment(nowMs, 'eta', eta, 'countdownSeconds', countdownSeconds);
    const expiresMs = moment(nowMs, 'expires', expires, 'expiresSeconds', expiresSeconds);
    const target = queue ?? queueOf(name);
    const ignoreResult =
      settings.ignoreResult ?? (typeof task === 'string' ? false : task.options.ignoreResult === true);
    const { raw } = buildMessage({
      ...{ ...passed, task: name, id, tag: randomUUID(), args, priority, origin, ignoreResult, routingKey: target },
      ...(etaMs === undefined ? {} : { eta: etaMs }),
      ...(expiresMs === undefined ? {} : { expires: expiresMs, expirationMs: expiresMs - nowMs }),
    });
    await sender.send(keys.queue(target, priority), raw);
    return createAsyncResult(id, ignoreResult ? ignored : (watch ?? noBackend));
  };

  return {
    send: send,
    result: (id) => createAsyncResult(id, watch ?? noBackend),
    async close() {
      await sender.close();
      canvasSender.close();
      watch?.close();
    },
  };
}

function endpointOf(url: string, what: 'broker' | 'backend', caPem: string | undefined): BrokerEndpoint {
  const parsed = parseEndpoint(caPem === undefined || !url.startsWith('rediss:') ? { url } : { url, caPem });
  if (parsed.kind === 'ok') return parsed.endpoint;
  throw new TypeError(
    what === 'broker' ? parsed.message : parsed.message.replaceAll('the broker URL', 'the backend URL'),
  );
}

/** A time that was given as itself or as seconds from now. */
function moment(
  nowMs: number,
  name: string,
  at: Date | undefined,
  secondsName: string,
  seconds: number | undefined,
): number | undefined {
  if (at !== undefined && seconds !== undefined) throw new TypeError(`give ${name} or ${secondsName}, not both`);
  const ms = at?.getTime() ?? (seconds === undefined ? undefined : nowMs + seconds * 1000);
  if (ms !== undefined && !Number.isFinite(ms))
    throw new TypeError(`${at === undefined ? secondsName : name} is no time`);
  return ms;
}
