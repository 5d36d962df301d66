import { expect } from 'chai';
import { createBackoff } from '../../../operator/kube/backoff.ts';
import { createThrottle } from '../../../operator/kube/throttle.ts';
import { createSteppedClock } from '../../support/steppedClock.ts';

const limits = { baseMs: 800, maxMs: 30_000, jitter: 1, resetAfterMs: 120_000 };

describe('backoff', () => {
  it('doubles to its top and stays there', () => {
    const backoff = createBackoff(createSteppedClock(), () => 0, limits);
    expect(Array.from({ length: 8 }, () => backoff.nextMs())).to.deep.equal([
      800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
    ]);
  });

  it('adds up to as much again, never above the top', () => {
    const backoff = createBackoff(createSteppedClock(), () => 0.999, limits);
    expect(backoff.nextMs()).to.be.closeTo(1600, 2);
    for (let count = 0; count < 10; count += 1) expect(backoff.nextMs()).to.be.at.most(30_000);
  });

  it('starts again at the base two healthy minutes after the last wait', async () => {
    const clock = createSteppedClock();
    const backoff = createBackoff(clock, () => 0, limits);
    backoff.nextMs();
    await clock.step(120_000);
    expect(backoff.nextMs()).to.equal(1600, 'the wait itself is not a healthy time');
    await clock.step(121_601);
    expect(backoff.nextMs()).to.equal(800);
  });
});

describe('throttle', () => {
  it('lets a burst through and then the rate, in the order of asking', async () => {
    const clock = createSteppedClock();
    const throttle = createThrottle(clock, { requestsPerSecond: 10, burst: 2 });
    const passed: number[] = [];
    for (let count = 0; count < 5; count += 1) void throttle.take().then(() => passed.push(count));
    await clock.step(0);
    expect(passed).to.deep.equal([0, 1]);
    await clock.step(100);
    expect(passed).to.deep.equal([0, 1, 2]);
    await clock.step(200);
    expect(passed).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it('is open without limits', async () => {
    expect(await createThrottle(createSteppedClock()).take()).to.equal(0);
  });
});
