import { expect } from 'chai';
import { listenForShutdown } from '../../../operator/runtime/signals.ts';
import { silentLog } from '../../support/silentLog.ts';

describe('listenForShutdown', () => {
  it('aborts on the first signal and leaves the second to the system', () => {
    const before = process.listenerCount('SIGTERM');
    const interrupts = process.listeners('SIGINT');
    const shutdown = listenForShutdown(silentLog);
    expect(process.listenerCount('SIGTERM')).to.equal(before + 1);
    process.emit('SIGTERM', 'SIGTERM');
    expect(shutdown.signal.aborted).to.equal(true);
    expect(process.listenerCount('SIGTERM')).to.equal(before);
    expect(process.listeners('SIGINT')).to.deep.equal(interrupts);
  });

  it('can be called off', () => {
    const before = process.listenerCount('SIGINT');
    listenForShutdown(silentLog).dispose();
    expect(process.listenerCount('SIGINT')).to.equal(before);
  });
});
