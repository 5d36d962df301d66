/**
 * A Python process with a Celery app of its own, as an operator of a fleet or a producer has it: it sends tasks, asks and
 * commands workers through Celery's own code, and hears events through Celery's own receiver. It knows nothing of Muster.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import type { Celery } from './celery.ts';

/** Whom a broadcast is for, and how its answers are waited for. */
export interface BroadcastOptions {
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: 'glob' | 'pcre';
  /** Seconds; default 5. */
  readonly timeout?: number;
  /** How many answers end the wait; default 1. */
  readonly limit?: number;
  readonly reply?: boolean;
}

/** A command of Celery that runs. */
export interface CeleryCommand {
  /** All that it printed so far. */
  output(): string;
  stop(): Promise<void>;
}

/** The process. */
export interface CeleryClient {
  /** `app.control.broadcast`: the answers by node name. */
  control(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options?: BroadcastOptions,
  ): Promise<Record<string, unknown>>;
  /** `app.send_task`: the id. */
  send(name: string, args?: readonly unknown[], options?: Readonly<Record<string, unknown>>): Promise<string>;
  /** The state of a task, and its result as Python's `str` shows it. */
  result(id: string): Promise<{ readonly state: string; readonly result: string }>;
  /** `AsyncResult.revoke`. */
  revoke(id: string, options?: Readonly<Record<string, unknown>>): Promise<void>;
  /** `AsyncResult.get`: what it returns or raises. */
  get(id: string): Promise<{ readonly value?: unknown; readonly raised?: string; readonly text?: string }>;
  /** Every event heard so far by `app.events.Receiver`. */
  events(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** What `celery.events.state.State` makes of them, as Flower sees it. */
  seen(): Promise<{
    readonly workers: Readonly<Record<string, { readonly alive: boolean; readonly active: number }>>;
    readonly tasks: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  }>;
  /** The command `celery …`: what it prints. Rejects when it does not exit with 0. */
  cli(...args: string[]): Promise<string>;
  /** The same as a process that goes on until it is stopped. */
  background(...args: string[]): CeleryCommand;
  close(): Promise<void>;
}

const program = `
import json, sys, threading, time
from celery import Celery
url = sys.argv[1]
app = Celery('client', broker=url, backend=url)
events, state = [], app.events.State()

def hear():
    def on_event(event):
        state.event(event)
        events.append(event)
    while True:
        try:
            with app.connection() as connection:
                receiver = app.events.Receiver(connection, handlers={'*': on_event})
                receiver.capture(limit=None, timeout=None, wakeup=False)
        except Exception:
            time.sleep(0.2)

threading.Thread(target=hear, daemon=True).start()

def answer(op, *rest):
    if op == 'control':
        command, args, options = rest
        replies = app.control.broadcast(command, arguments=args, **options)
        return {node: reply for each in replies or [] for node, reply in each.items()}
    if op == 'send':
        name, args, options = rest
        return app.send_task(name, args, **options).id
    if op == 'result':
        found = app.AsyncResult(rest[0])
        return {'state': found.state, 'result': str(found.result)}
    if op == 'revoke':
        app.AsyncResult(rest[0]).revoke(**rest[1])
        return None
    if op == 'get':
        found = app.AsyncResult(rest[0])
        # A result that comes while Celery's client subscribes to it, it hears of only when it asks again.
        until = time.time() + 20
        while not found.ready() and time.time() < until:
            time.sleep(0.01)
        try:
            return {'value': found.get(timeout=1)}
        except Exception as exc:
            return {'raised': f'{type(exc).__module__}.{type(exc).__name__}', 'text': str(exc)}
    if op == 'events':
        return events
    if op == 'seen':
        return {
            'workers': {name: {'alive': w.alive, 'active': w.active or 0} for name, w in state.workers.items()},
            'tasks': {id: {k: getattr(t, k) for k in ('name', 'state', 'args', 'result', 'exception', 'runtime')}
                      for id, t in state.tasks.items()},
        }

print(json.dumps('ready'), flush=True)
for line in sys.stdin:
    try:
        print(json.dumps({'ok': answer(*json.loads(line))}, default=repr), flush=True)
    except Exception as exc:
        print(json.dumps({'error': repr(exc)}), flush=True)
`;

/** Starts one on a broker, which holds its results too. */
export async function startCeleryClient(celery: Celery, url: string): Promise<CeleryClient> {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
  const child = spawn(join(celery.bin, 'python'), ['-u', '-c', program, url], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env,
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  await lines.next();
  let last: Promise<unknown> = Promise.resolve();
  const ask = <T>(...request: readonly unknown[]): Promise<T> => {
    const answer = last.then(async () => {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const line = await lines.next();
      if (line.done === true) throw new Error('the Celery client has ended');
      const said = JSON.parse(line.value) as { ok?: T; error?: string };
      if (said.error !== undefined) throw new Error(said.error);
      return said.ok as T;
    });
    last = answer.catch(() => undefined);
    return answer;
  };
  const celeryArgs = (args: readonly string[]): string[] => ['-b', url, '--result-backend', url, ...args];
  return {
    control: (command, args = {}, options = {}) =>
      ask('control', command, args, { timeout: 5, limit: 1, reply: true, ...options }),
    send: (name, args = [], options = {}) => ask('send', name, args, options),
    result: (id) => ask('result', id),
    async revoke(id, options = {}) {
      await ask('revoke', id, options);
    },
    get: (id) => ask('get', id),
    events: () => ask('events'),
    seen: () => ask('seen'),
    async cli(...args) {
      const { stdout } = await execa(join(celery.bin, 'celery'), celeryArgs(args), { env });
      return stdout;
    },
    background(...args) {
      const command = spawn(join(celery.bin, 'celery'), celeryArgs(args), { env: { ...env, PYTHONUNBUFFERED: '1' } });
      const over = new Promise((resolve) => command.once('close', resolve));
      let output = '';
      for (const stream of [command.stdout, command.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => (output += text));
      return {
        output: () => output,
        async stop() {
          command.kill('SIGKILL');
          await over;
        },
      };
    },
    async close() {
      child.stdin.end();
      child.kill();
      await ended;
    },
  };
}
