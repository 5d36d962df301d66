// What Muster writes for the contract with real Celery, and how Python must see it.
import { describeError, type Failure } from '../../../worker/protocol/failure.ts';
import { buildMessage, parseMessage, type OutgoingTask } from '../../../worker/protocol/message.ts';
import { buildResultMeta, groupTuple, resultTuple, type ResultMeta } from '../../../worker/protocol/result.ts';
import { CeleryDate, CeleryTime, Decimal, Uuid } from '../../../worker/protocol/values.ts';

/** A message of protocol 2 read and written again, every field by its own option; undefined for one that is not read. */
export function rebuild(raw: string): string | undefined {
  const parsed = parseMessage(raw);
  if (parsed.kind !== 'ok' || parsed.message.protocol !== 2) return undefined;
  const { message } = parsed;
  const { headers, properties } = message;
  // gzip is read and not written.
  if ('compression' in headers) return undefined;
  const known = [
    'lang',
    'task',
    'id',
    'shadow',
    'eta',
    'expires',
    'group',
    'group_index',
    'retries',
    'timelimit',
    'root_id',
  ];
  known.push(
    'parent_id',
    'argsrepr',
    'kwargsrepr',
    'origin',
    'ignore_result',
    'replaced_task_nesting',
    'stamped_headers',
    'stamps',
  );
  const knownProperties = [
    'correlation_id',
    'reply_to',
    'delivery_mode',
    'delivery_info',
    'priority',
    'body_encoding',
    'delivery_tag',
  ];
  knownProperties.push('expiration');
  const outgoing: OutgoingTask = {
    task: message.task,
    id: message.id,
    tag: String(properties['delivery_tag']),
    args: message.args,
    kwargs: message.kwargs,
    ...message.embed,
    retries: message.retries,
    // As a text, for Python's microseconds.
    eta: textOf(headers['eta']),
    expires: textOf(headers['expires']),
    expirationMs: typeof properties['expiration'] === 'string' ? Number(properties['expiration']) : undefined,
    rootId: message.rootId,
    parentId: message.parentId,
    groupId: message.groupId,
    groupIndex: message.groupIndex,
    timeLimitSeconds: message.timeLimitSeconds,
    softTimeLimitSeconds: message.softTimeLimitSeconds,
    ignoreResult: message.ignoreResult,
    replyTo: message.replyTo,
    priority: message.priority,
    exchange: message.exchange,
    routingKey: message.routingKey,
    origin: message.origin,
    shadow: message.shadow,
    // Our own repr is compared too, except where Python shows a type that it cannot know.
    ...(isOwnRepr(`${message.argsRepr} ${message.kwargsRepr}`)
      ? {}
      : { argsRepr: message.argsRepr, kwargsRepr: message.kwargsRepr }),
    stampedHeaders: message.stampedHeaders,
    stamps: message.stamps,
    replacedTaskNesting: message.replacedTaskNesting,
    headers: without(headers, known, { ignore_result: headers['ignore_result'] }),
    properties: without(properties, knownProperties),
  };
  return buildMessage(outgoing).raw;
}

function isOwnRepr(repr: string): boolean {
  return !/datetime|1\.0|<hidden>|b'|\{'task'|golden\.add\(|'args': \(/.test(repr);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function without(
  record: Readonly<Record<string, unknown>>,
  names: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return { ...Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name))), ...more };
}

const done = { taskId: 'an-id', dateDoneMs: 1_795_322_484_771 } as const;
const failed = (failure: Failure, status = 'FAILURE'): string => buildResultMeta({ ...done, status, result: failure });
const stored = (rest: Omit<ResultMeta, 'taskId'>): string => buildResultMeta({ ...done, ...rest });
class PaymentError extends Error {}

/** Results, and the state and value or exception that a Python client gets. */
export const resultCases: Readonly<Record<string, { json: string; want: readonly [string, string] }>> = {
  'a value': {
    json: stored({ status: 'SUCCESS', result: { a: [1, null, 'é'] } }),
    want: ['SUCCESS', "{'a': [1, None, 'é']}"],
  },
  nothing: { json: stored({ status: 'SUCCESS', result: undefined }), want: ['SUCCESS', 'None'] },
  'with children': {
    json: stored({
      status: 'SUCCESS',
      result: 1,
      children: [resultTuple('child'), groupTuple('group', [resultTuple('one'), resultTuple('two')])],
      groupId: 'group-id',
      parentId: 'parent-id',
    }),
    want: ['SUCCESS', '1'],
  },
  'a TypeError': {
    json: failed(describeError(new TypeError('bad'))),
    want: ['FAILURE', "builtins.TypeError('bad',)"],
  },
  'an Error': { json: failed(describeError(new Error('bad'))), want: ['FAILURE', "celery.exceptions.Error('bad',)"] },
  'a class of its own': {
    json: failed(describeError(new PaymentError('declined'))),
    want: ['FAILURE', "celery.exceptions.PaymentError('declined',)"],
  },
  'a thrown text': { json: failed(describeError('oops')), want: ['FAILURE', "celery.exceptions.Error('oops',)"] },
  'a thrown undefined': {
    json: failed(describeError(undefined)),
    want: ['FAILURE', "celery.exceptions.Error('undefined',)"],
  },
  'an error that says what it is in Python': {
    json: failed(
      describeError(
        Object.assign(new Error('x'), { python: { excType: 'KeyError', excModule: 'builtins', excArgs: ['k', 1] } }),
      ),
    ),
    want: ['FAILURE', "builtins.KeyError('k', 1)"],
  },
  'an error named as a function of Python': {
    json: failed(describeError(Object.assign(new Error('x'), { name: 'eval' }))),
    want: ['FAILURE', "celery.exceptions.eval('x',)"],
  },
  'a lone surrogate in a message': {
    json: failed(describeError(new TypeError('a\ud800'))),
    want: ['FAILURE', "builtins.TypeError('a\\ud800',)"],
  },
  revoked: {
    json: failed(
      { exc_type: 'TaskRevokedError', exc_message: ['expired'], exc_module: 'celery.exceptions' },
      'REVOKED',
    ),
    want: ['REVOKED', "celery.exceptions.TaskRevokedError('expired',)"],
  },
  'to be tried again': {
    json: failed(describeError(new RangeError('later')), 'RETRY'),
    want: ['RETRY', "celery.exceptions.RangeError('later',)"],
  },
  started: {
    json: stored({ status: 'STARTED', result: { pid: 1, hostname: 'w@h' } }),
    want: ['STARTED', "{'pid': 1, 'hostname': 'w@h'}"],
  },
  'a state of its own': {
    json: stored({ status: 'PROGRESS', result: { done: 1 } }),
    want: ['PROGRESS', "{'done': 1}"],
  },
};

const made = (...args: readonly unknown[]): string =>
  buildMessage({ task: 't', id: 'i', tag: 'd', routingKey: 'q', args }).raw;
const body = (shown: string): string =>
  `[[${shown}], {}, {'callbacks': None, 'errbacks': None, 'chain': None, 'chord': None}]`;

/** Values that JavaScript makes, and the repr of the body that Python reads. */
export const typedValues: Readonly<Record<string, { raw: string; want: string }>> = {
  'a Date': {
    raw: made(new Date(1_795_322_484_771)),
    want: body('datetime.datetime(2026, 11, 22, 4, 41, 24, 771000, tzinfo=datetime.timezone.utc)'),
  },
  'a Date without milliseconds': {
    raw: made(new Date(0)),
    want: body('datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)'),
  },
  'bytes that are a text': { raw: made(Buffer.from('é')), want: body("b'\\xc3\\xa9'") },
  'bytes that are none': { raw: made(new Uint8Array([255, 0])), want: body("b'\\xff\\x00'") },
  'a bigint': { raw: made(-(2n ** 70n)), want: body('-1180591620717411303424') },
  'NaN and the infinities': { raw: made(NaN, Infinity, -Infinity, -0), want: body('nan, inf, -inf, -0.0') },
  'a day, a time of day': {
    raw: made(new CeleryDate('2026-02-28'), new CeleryTime('04:41:24')),
    want: body('datetime.date(2026, 2, 28), datetime.time(4, 41, 24)'),
  },
  'a decimal and a UUID': {
    raw: made(new Decimal('1.10'), new Uuid('12345678-1234-5678-1234-567812345678')),
    want: body("Decimal('1.10'), UUID('12345678-1234-5678-1234-567812345678')"),
  },
  'a lone surrogate': { raw: made('\ud800'), want: body("'\\ud800'") },
  'numbers of every kind': {
    raw: made(1, 1.5, 1e21, 1e-7, 2 ** 53),
    want: body('1, 1.5, 1e+21, 1e-07, 9007199254740992'),
  },
};
