import { expect } from 'chai';
import { Registry } from 'prom-client';
import { createController, type ReconcileContext, type Result } from '../../../operator/runtime/controller.ts';
import type { Logger } from '../../../operator/runtime/log.ts';
import { createRuntimeMetrics } from '../../../operator/runtime/metrics.ts';
import { createWorkQueue, type WorkQueue } from '../../../operator/runtime/workqueue.ts';
import { createSteppedClock, settle, type SteppedClock } from '../../support/steppedClock.ts';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

function listen(lines: Line[], bound: Record<string, unknown> = {}): Logger {
  const at =
    (level: string) =>
    (message: string, fields: Record<string, unknown> = {}): void =>
      void lines.push({ level, message, fields: { ...bound, ...fields } });
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => listen(lines, { ...bound, ...fields }),
  };
}

describe('controller', () => {
  let clock: SteppedClock;
  let queue: WorkQueue;
  let registry: Registry;
  let lines: Line[];
  let stop: AbortController;
  let running: Promise<void>;
  let starts: string[];

  const start = (
    reconcile: (key: string, context: ReconcileContext) => Promise<Result> | Result,
    workers = 1,
  ): void => {
    const metrics = createRuntimeMetrics(registry);
    queue = createWorkQueue({ name: 'c', clock, metrics: metrics.queue('c') });
    const controller = createController({
      name: 'c',
      queue,
      workers,
      timeoutMs: 1000,
      clock,
      log: listen(lines),
      metrics: metrics.controller('c'),
      isQuiet: (err) => String(err).includes('conflict'),
      reconcile: async (key, context) => {
        starts.push(key);
        return reconcile(key, context);
      },
    });
    running = controller.run(stop.signal);
  };
  const counted = async (name: string): Promise<number> => {
    const text = await registry.metrics();
    return Number(new RegExp(`^controller_runtime_${name} (.*)$`, 'm').exec(text)?.[1]);
  };

  beforeEach(() => {
    clock = createSteppedClock();
    registry = new Registry();
    [lines, starts] = [[], []];
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    await running;
    expect(clock.pending).to.equal(0, 'no timer is left behind');
  });

  it('is done with what is done', async () => {
    start(() => ({ kind: 'done' }));
    queue.add('ns/a');
    await clock.step(3_600_000);
    expect(starts).to.deep.equal(['ns/a']);
    expect(await counted('reconcile_total\\{controller="c",result="success"\\}')).to.equal(1);
  });

  it('comes back when asked to, and forgets failures', async () => {
    const results: (() => Result)[] = [
      () => {
        throw new Error('first');
      },
      () => ({ kind: 'requeueAfter', ms: 30_000, why: 'waiting for a pod' }),
    ];
    start(() => results.shift()?.() ?? { kind: 'done' });
    queue.add('ns/a');
    await clock.step(5);
    expect(starts).to.have.length(2);
    expect(queue.failures('ns/a')).to.equal(0);
    await clock.step(29_999);
    expect(starts).to.have.length(2);
    await clock.step(1);
    expect(starts).to.have.length(3);
  });

  it('tries a failure again with growing waits, says so once each, with who and why', async () => {
    start(() => {
      throw new Error('no broker');
    });
    queue.add('ns/a');
    await clock.step(5 + 10 + 20);
    expect(starts).to.have.length(4);
    const errors = lines.filter((line) => line.level === 'error');
    expect(errors).to.have.length(4);
    expect(errors[3]?.fields).to.include({ controller: 'c', namespace: 'ns', name: 'a', failures: 4 });
    expect(String(errors[3]?.fields['err'])).to.contain('no broker');
    expect(new Set(errors.map((line) => line.fields['reconcileID'])).size).to.equal(4);
    expect(await counted('reconcile_errors_total\\{controller="c"\\}')).to.equal(4);
    stop.abort();
    await clock.step(3_600_000);
  });

  it('does not try again what only a change of the object can mend', async () => {
    start(() => ({ kind: 'terminal', reason: 'InvalidSpec', message: 'min > max' }));
    queue.add('a');
    await clock.step(3_600_000);
    expect(starts).to.have.length(1);
    expect(await counted('terminal_reconcile_errors_total\\{controller="c"\\}')).to.equal(1);
    expect(lines.find((line) => line.level === 'warn')?.fields).to.include({ reason: 'InvalidSpec' });
  });

  it('is quiet about what is ordinary, and retries it all the same', async () => {
    const results = [new Error('conflict')];
    start(() => {
      const err = results.shift();
      if (err !== undefined) throw err;
      return { kind: 'done' };
    });
    queue.add('a');
    await clock.step(5);
    expect(starts).to.have.length(2);
    expect(lines.filter((line) => line.level === 'error')).to.deep.equal([]);
  });

  it('tells programming errors from the failures of the world', async () => {
    const errors = [new TypeError('x is not a function'), new Error('refused')];
    start(() => {
      const err = errors.shift();
      if (err !== undefined) throw err;
      return { kind: 'done' };
    });
    queue.add('a');
    await clock.step(15);
    expect(await counted('reconcile_panics_total\\{controller="c"\\}')).to.equal(1);
    expect(await counted('reconcile_errors_total\\{controller="c"\\}')).to.equal(2);
  });

  it('tells a reconcile that takes too long to stop, and never starts a second of the same key meanwhile', async () => {
    let finish: (() => void) | undefined;
    start(async (_key, { signal }) => {
      if (finish === undefined) await new Promise<void>((resolve) => (finish = resolve));
      signal.throwIfAborted();
      return { kind: 'done' };
    }, 3);
    queue.add('a');
    await clock.step(999);
    queue.add('a');
    await clock.step(5000);
    expect(starts).to.have.length(1, 'it has not returned yet');
    expect(await counted('reconcile_timeouts_total\\{controller="c"\\}')).to.equal(1);
    finish?.();
    await clock.step(5);
    expect(starts).to.have.length.at.least(2);
  });

  it('works on several keys at once, up to its workers', async () => {
    const finish: (() => void)[] = [];
    start(async () => {
      await new Promise<void>((resolve) => finish.push(resolve));
      return { kind: 'done' };
    }, 2);
    for (const key of ['a', 'b', 'c']) queue.add(key);
    await settle();
    expect(starts).to.deep.equal(['a', 'b']);
    expect(await counted('active_workers\\{controller="c"\\}')).to.equal(2);
    finish.shift()?.();
    await settle();
    expect(starts).to.deep.equal(['a', 'b', 'c']);
    for (const each of finish) each();
    await settle();
  });

  it('ends with its signal after the work under way, which is no failure', async () => {
    start(async (_key, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      throw new Error('aborted');
    });
    queue.add('a');
    await settle();
    stop.abort();
    await running;
    expect(lines.filter((line) => line.level === 'error')).to.deep.equal([]);
    expect(await counted('reconcile_errors_total\\{controller="c"\\}')).to.equal(0);
  });
});
