import { expect } from 'chai';
import { known, unknown } from '../../../operator/signals/known.ts';
import { signals, type PoolSample } from '../../../operator/signals/signals.ts';

const idle = known({ running: 0, waitingInWorkers: 0 });
const queue = (name: string, ready: number, unacked: number): PoolSample['queues'][number] => ({
  name,
  ready: known(ready),
  unacked: known(unacked),
});
const unread = (name: string, why: string): PoolSample['queues'][number] => ({
  name,
  ready: unknown(why),
  unacked: unknown(why),
});
/** Some pods were heard, and at least one was not. */
const partly = (running: number, waitingInWorkers: number): PoolSample['activity'] => ({
  kind: 'unknown',
  why: 'pod x is silent',
  atLeast: { running, waitingInWorkers },
});

describe('signals', () => {
  const cases: Record<
    string,
    { sample: PoolSample; wantAtLeast: number; wantHeld: number | 'unknown'; wantEmpty: 'yes' | 'no' | 'unknown' }
  > = {
    'an empty queue with an idle worker is empty': {
      sample: { isCurrent: true, ackMode: 'Early', queues: [queue('a', 0, 0)], activity: idle },
      wantAtLeast: 0,
      wantHeld: 0,
      wantEmpty: 'yes',
    },
    'the queue reads 0 while one worker runs two and has prefetched eight (early ack)': {
      sample: {
        isCurrent: true,
        ackMode: 'Early',
        queues: [queue('a', 0, 8)],
        activity: known({ running: 2, waitingInWorkers: 8 }),
      },
      wantAtLeast: 10,
      wantHeld: 8,
      wantEmpty: 'no',
    },
    'late ack keeps the running ones in unacked, so they are counted once': {
      sample: {
        isCurrent: true,
        ackMode: 'Late',
        queues: [queue('a', 22, 8)],
        activity: known({ running: 2, waitingInWorkers: 6 }),
      },
      wantAtLeast: 30,
      wantHeld: 6,
      wantEmpty: 'no',
    },
    'a task acknowledged early runs in no key of the broker: only the worker knows': {
      sample: {
        isCurrent: true,
        ackMode: 'Early',
        queues: [queue('a', 0, 0)],
        activity: known({ running: 1, waitingInWorkers: 0 }),
      },
      wantAtLeast: 1,
      wantHeld: 0,
      wantEmpty: 'no',
    },
    'orphans left in unacked by a dead worker count although no worker holds them': {
      sample: { isCurrent: true, ackMode: 'Early', queues: [queue('a', 0, 5)], activity: idle },
      wantAtLeast: 5,
      wantHeld: 5,
      wantEmpty: 'no',
    },
    'a silent worker makes emptiness unknown, not true': {
      sample: { isCurrent: true, ackMode: 'Early', queues: [queue('a', 0, 0)], activity: unknown('pod x is silent') },
      wantAtLeast: 0,
      wantHeld: 0,
      wantEmpty: 'unknown',
    },
    'what runs in the pods that were heard counts although another is silent (early ack)': {
      sample: { isCurrent: true, ackMode: 'Early', queues: [queue('a', 8, 0)], activity: partly(36, 0) },
      wantAtLeast: 44,
      wantHeld: 0,
      wantEmpty: 'no',
    },
    'with a silent worker too, late ack keeps the running ones in unacked, so they are counted once': {
      sample: { isCurrent: true, ackMode: 'Late', queues: [queue('a', 8, 40)], activity: partly(36, 0) },
      wantAtLeast: 48,
      wantHeld: 'unknown',
      wantEmpty: 'no',
    },
    'with a silent worker too, a task that workers took after the queue was read is not counted twice': {
      sample: { isCurrent: false, ackMode: 'Early', queues: [queue('a', 10, 0)], activity: partly(2, 8) },
      wantAtLeast: 10,
      wantHeld: 0,
      wantEmpty: 'no',
    },
    'with the broker down, what the workers that were heard run and hold is left': {
      sample: { isCurrent: false, ackMode: 'Late', queues: [unread('a', 'broker is down')], activity: partly(2, 3) },
      wantAtLeast: 5,
      wantHeld: 'unknown',
      wantEmpty: 'no',
    },
    'a silent worker makes emptiness unknown although all the others were heard to do nothing': {
      sample: { isCurrent: true, ackMode: 'Early', queues: [queue('a', 0, 0)], activity: partly(0, 0) },
      wantAtLeast: 0,
      wantHeld: 0,
      wantEmpty: 'unknown',
    },
    'an unread queue makes emptiness unknown and adds nothing': {
      sample: {
        isCurrent: true,
        ackMode: 'Early',
        queues: [queue('a', 3, 0), unread('b', 'not read yet')],
        activity: idle,
      },
      wantAtLeast: 3,
      wantHeld: 'unknown',
      wantEmpty: 'no',
    },
    'a task that workers took after the queue was read is not counted twice': {
      sample: {
        isCurrent: false,
        ackMode: 'Early',
        queues: [queue('a', 10, 0)],
        activity: known({ running: 2, waitingInWorkers: 8 }),
      },
      wantAtLeast: 10,
      wantHeld: 0,
      wantEmpty: 'no',
    },
    'unacked that could not be read makes emptiness unknown, though the queue itself was read': {
      sample: {
        isCurrent: true,
        ackMode: 'Late',
        queues: [{ name: 'a', ready: known(0), unacked: unknown('too many to count') }],
        activity: idle,
      },
      wantAtLeast: 0,
      wantHeld: 'unknown',
      wantEmpty: 'unknown',
    },
    'with the broker down nothing is known': {
      sample: { isCurrent: true, ackMode: 'Late', queues: [unread('a', 'broker is down')], activity: idle },
      wantAtLeast: 0,
      wantHeld: 'unknown',
      wantEmpty: 'unknown',
    },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(name, () => {
      const got = signals(tc.sample, {}, 1000);
      expect(got.outstandingAtLeast).to.equal(tc.wantAtLeast);
      expect(got.held.kind === 'ok' ? got.held.value : 'unknown').to.equal(tc.wantHeld);
      const empty =
        got.emptyForMs.kind === 'unknown' ? 'unknown' : got.memory.emptySinceMs === undefined ? 'no' : 'yes';
      expect(empty).to.equal(tc.wantEmpty);
    });
  }

  it('says that the running tasks are unknown while a worker is silent, not the part that was heard', () => {
    const got = signals(
      { isCurrent: true, ackMode: 'Early', queues: [queue('a', 0, 0)], activity: partly(3, 0) },
      {},
      0,
    );
    expect(got.running).to.deep.equal(unknown('pod x is silent'));
  });

  it('counts how long the pool has been empty, and starts anew after a task or a gap in the readings', () => {
    const empty: PoolSample = { isCurrent: true, ackMode: 'Early', queues: [queue('a', 0, 0)], activity: idle };
    const first = signals(empty, {}, 1000);
    const later = signals(empty, first.memory, 31_000);
    expect(later.emptyForMs).to.deep.equal(known(30_000));
    const gap = signals({ ...empty, activity: unknown('silent') }, later.memory, 32_000);
    expect(gap.memory).to.deep.equal({});
    expect(signals(empty, gap.memory, 33_000).emptyForMs).to.deep.equal(known(0));
  });
});
