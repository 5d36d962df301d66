import { expect } from 'chai';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { createRuntimeMetrics } from '../../../operator/runtime/metrics.ts';
import { createWorkQueue, initialPriority, type WorkQueue } from '../../../operator/runtime/workqueue.ts';
import { createSteppedClock, settle, type SteppedClock } from '../../support/steppedClock.ts';

const never = new AbortController().signal;

function build(registry = new Registry()): { queue: WorkQueue; clock: SteppedClock; registry: Registry } {
  const clock = createSteppedClock();
  const queue = createWorkQueue({ name: 'q', clock, metrics: createRuntimeMetrics(registry).queue('q') });
  return { queue, clock, registry };
}

/** Takes everything that is ready, in order. */
async function drain(queue: WorkQueue): Promise<string[]> {
  const keys: string[] = [];
  while (queue.length > 0) {
    const key = await queue.get(never);
    if (key === undefined) break;
    keys.push(key);
    queue.done(key);
  }
  return keys;
}

describe('work queue', () => {
  it('gives keys in the order of adding, each once', async () => {
    const { queue } = build();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect(await drain(queue)).to.deep.equal(['a', 'b', 'c']);
  });

  it('never gives a key that is being worked on, and gives it again when it was added meanwhile', async () => {
    const { queue } = build();
    queue.add('a');
    expect(await queue.get(never)).to.equal('a');
    queue.add('a');
    queue.add('a');
    queue.add('b');
    expect(await queue.get(never)).to.equal('b');
    expect(queue.length).to.equal(0);
    queue.done('a');
    expect(await queue.get(never)).to.equal('a');
    queue.done('a');
    expect(queue.length).to.equal(0, 'twice added while working is once again');
  });

  it('gives what matters more first, and raises a key that is waiting', async () => {
    const { queue } = build();
    for (const key of ['a', 'b', 'c']) queue.add(key, { priority: initialPriority });
    queue.add('d');
    queue.add('c'); // A user's edit of something from the first list.
    queue.add('d', { priority: initialPriority }); // Never lowered.
    expect(await drain(queue)).to.deep.equal(['d', 'c', 'a', 'b']);
  });

  it('keeps the highest priority that was asked for while working', async () => {
    const { queue } = build();
    queue.add('a');
    await queue.get(never);
    queue.add('x', { priority: 1 });
    queue.add('a', { priority: initialPriority });
    queue.add('a', { priority: 2 });
    queue.done('a');
    expect(await drain(queue)).to.deep.equal(['a', 'x']);
  });

  it('wakes a waiting worker for each key', async () => {
    const { queue } = build();
    const got = [queue.get(never), queue.get(never)];
    queue.add('a');
    queue.add('b');
    expect(await Promise.all(got)).to.deep.equal(['a', 'b']);
  });

  it('ends the waiting of a worker whose signal aborts, and gives its key to another', async () => {
    const { queue } = build();
    const stop = new AbortController();
    const [leaving, staying] = [queue.get(stop.signal), queue.get(never)];
    stop.abort();
    queue.add('a');
    expect(await Promise.all([leaving, staying])).to.deep.equal([undefined, 'a']);
    expect(await queue.get(stop.signal)).to.equal(undefined, 'also when something is ready');
  });

  it('adds later, at the earliest time asked for', async () => {
    const { queue, clock } = build();
    queue.addAfter('a', 1000);
    queue.addAfter('a', 5000);
    queue.addAfter('b', 3000);
    queue.addAfter('b', 2000);
    await clock.step(999);
    expect(await drain(queue)).to.deep.equal([]);
    await clock.step(1);
    expect(await drain(queue)).to.deep.equal(['a']);
    await clock.step(1000);
    expect(await drain(queue)).to.deep.equal(['b']);
    await clock.step(10_000);
    expect(await drain(queue)).to.deep.equal([], 'the later times are forgotten');
    expect(clock.pending).to.equal(0);
  });

  it('adds at once when the time is not in the future, and can wait longer than a timer can', async () => {
    const { queue, clock } = build();
    queue.addAfter('now', 0);
    queue.addAfter('month', 30 * 86_400_000);
    expect(await drain(queue)).to.deep.equal(['now']);
    await clock.step(30 * 86_400_000 - 1);
    expect(queue.length).to.equal(0);
    await clock.step(1);
    expect(await drain(queue)).to.deep.equal(['month']);
  });

  it('waits longer for a key each time it fails, and not for others', async () => {
    const { queue, clock } = build();
    const waits: number[] = [];
    for (let count = 0; count < 4; count += 1) {
      queue.addRateLimited('a');
      let ms = 0;
      for (; queue.length === 0; ms += 1) await clock.step(1);
      waits.push(ms);
      await drain(queue);
    }
    expect(waits).to.deep.equal([5, 10, 20, 40]);
    expect([queue.failures('a'), queue.failures('b')]).to.deep.equal([4, 0]);
    queue.forget('a');
    queue.addRateLimited('a');
    await clock.step(5);
    expect(queue.length).to.equal(1);
  });

  it('reports itself under the names of controller-runtime, from zero', async () => {
    const { queue, clock, registry } = build();
    const value = async (name: string): Promise<string | undefined> =>
      new RegExp(`^${name}\\{name="q",controller="q"\\} (.*)$`, 'm').exec(await registry.metrics())?.[1];
    for (const name of ['workqueue_depth', 'workqueue_adds_total', 'workqueue_retries_total']) {
      expect(await value(name), name).to.equal('0');
    }
    queue.add('a');
    queue.add('b');
    queue.add('b');
    expect(await value('workqueue_depth')).to.equal('2');
    expect(await value('workqueue_adds_total')).to.equal('2');
    await clock.step(500);
    await queue.get(never);
    await clock.step(2000);
    expect(await value('workqueue_unfinished_work_seconds')).to.equal('2');
    expect(await value('workqueue_longest_running_processor_seconds')).to.equal('2');
    queue.done('a');
    expect(await value('workqueue_unfinished_work_seconds')).to.equal('0');
    expect(await value('workqueue_queue_duration_seconds_sum')).to.equal('0.5');
    expect(await value('workqueue_work_duration_seconds_sum')).to.equal('2');
  });

  type Step =
    | { kind: 'add'; key: string; priority: number }
    | { kind: 'addAfter'; key: string; ms: number }
    | { kind: 'addRateLimited' | 'forget'; key: string }
    | { kind: 'finish' }
    | { kind: 'step'; ms: number };
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('add' as const), key, priority: fc.constantFrom(-100, 0, 1) }),
    },
    fc.record({ kind: fc.constant('addAfter' as const), key, ms: fc.integer({ min: 0, max: 50 }) }),
    fc.record({ kind: fc.constantFrom('addRateLimited' as const, 'forget' as const), key }),
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('finish' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('step' as const), ms: fc.integer({ min: 1, max: 30 }) }) },
  );

  it('never gives a key to two workers, loses nothing, and ends empty', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 4 }), async (steps, workers) => {
        const { queue, clock } = build();
        const stop = new AbortController();
        const working: { key: string; finish: () => void }[] = [];
        /** Since when a key has been owed a start of work (by the step number); cleared when work starts. */
        const owed = new Map<string, number>();
        let now = 0;
        const worker = async (): Promise<void> => {
          for (let got = await queue.get(stop.signal); got !== undefined; got = await queue.get(stop.signal)) {
            const taken = got;
            expect(working.map((each) => each.key)).to.not.include(taken, 'a key is worked on by one at a time');
            owed.delete(taken);
            await new Promise<void>((finish) => working.push({ key: taken, finish }));
            working.splice(
              working.findIndex((each) => each.key === taken),
              1,
            );
            queue.done(taken);
          }
        };
        const pool = Array.from({ length: workers }, worker);
        for (const each of steps) {
          now += 1;
          if ('key' in each && each.kind !== 'forget') owed.set(each.key, now);
          switch (each.kind) {
            case 'add':
              queue.add(each.key, { priority: each.priority });
              break;
            case 'addAfter':
              queue.addAfter(each.key, each.ms);
              break;
            case 'addRateLimited':
              queue.addRateLimited(each.key);
              break;
            case 'forget':
              queue.forget(each.key);
              break;
            case 'finish':
              working[0]?.finish();
              break;
            case 'step':
              await clock.step(each.ms);
          }
          await settle();
        }
        // Let all time pass and finish all work: whatever was ever added must have been started after its last add,
        // unless an earlier wait for it covered that add.
        for (let round = 0; round < 400 && (working.length > 0 || queue.length > 0 || clock.pending > 0); round += 1) {
          for (const each of [...working]) each.finish();
          await clock.step(60_000);
        }
        expect([...owed.keys()]).to.deep.equal([], 'nothing that was added is lost');
        expect([queue.length, working.length, clock.pending]).to.deep.equal([0, 0, 0]);
        stop.abort();
        await Promise.all(pool);
      }),
      { numRuns: 60 },
    );
  });
});
