/** The machine's own clock, with the timers of Node held by the test. */
import { expect } from 'chai';
import { systemClock } from '../../../operator/runtime/clock.ts';

const monthMs = 2_592_000_000;
/** Node takes what is longer for 1 ms. */
const mostMs = 2 ** 31 - 1;

describe('the system clock', () => {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  let waiting: { readonly ms: number; readonly fn: () => void } | undefined;
  let keepsAlive = true;
  beforeEach(() => {
    waiting = undefined;
    const set = (fn: () => void, ms: number): unknown => {
      waiting = { ms, fn };
      keepsAlive = true;
      return { unref: () => (keepsAlive = false) };
    };
    Object.assign(globalThis, { setTimeout: set, clearTimeout: () => (waiting = undefined) });
  });
  afterEach(() => Object.assign(globalThis, real));
  /** Lets the timers of Node fire until none is set; gives how long each was. */
  const fireAll = (): number[] => {
    const lengths: number[] = [];
    while (waiting !== undefined) {
      const { ms, fn } = waiting;
      waiting = undefined;
      lengths.push(ms);
      fn();
    }
    return lengths;
  };
  const sum = (lengths: readonly number[]): number => lengths.reduce((all, each) => all + each, 0);

  it('waits as long as it is asked to, also when one timer of Node cannot', () => {
    for (const ms of [0, 5, mostMs, monthMs, 31_536_000_000]) {
      let fired = 0;
      systemClock.setTimer(ms, () => (fired += 1));
      expect(keepsAlive).to.equal(false);
      const lengths = fireAll();
      expect(Math.max(...lengths)).to.be.at.most(mostMs);
      expect([sum(lengths), fired]).to.deep.equal([ms, 1]);
    }
  });

  it('calls a long timer off in its later parts too', () => {
    systemClock.setTimer(monthMs, () => expect.fail('it was called off')).cancel();
    expect(waiting).to.equal(undefined);
    const timer = systemClock.setTimer(monthMs, () => expect.fail('it was called off'));
    waiting?.fn();
    timer.cancel();
    expect(waiting).to.equal(undefined);
  });

  it('sleeps as long as it is asked to, and keeps the process meanwhile', async () => {
    const sleeping = systemClock.sleep(monthMs);
    expect(keepsAlive).to.equal(true);
    const lengths = fireAll();
    await sleeping;
    expect(Math.max(...lengths)).to.be.at.most(mostMs);
    expect(sum(lengths)).to.equal(monthMs);
  });

  it('ends a sleep when its signal aborts, and does not begin one after that', async () => {
    const end = new AbortController();
    const sleeping = systemClock.sleep(monthMs, end.signal);
    end.abort();
    await sleeping;
    expect(waiting).to.equal(undefined);
    await systemClock.sleep(monthMs, end.signal);
    expect(waiting).to.equal(undefined);
  });
});
