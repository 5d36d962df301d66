import { expect } from 'chai';
import { createManager, type Runnable } from '../../../operator/runtime/manager.ts';
import { createSteppedClock, settle } from '../../support/steppedClock.ts';
import { silentLog } from '../../support/silentLog.ts';

interface Part extends Runnable {
  becomeReady(): void;
  end(err?: Error): void;
}

describe('manager', () => {
  let diary: string[];
  beforeEach(() => {
    diary = [];
  });

  /** A part that notes what happens to it. `isStubborn` ignores its signal. */
  const part = (name: string, options: { isSlowToStart?: boolean; isStubborn?: boolean } = {}): Part => {
    let becomeReady: () => void = () => undefined;
    let end: (err?: Error) => void = () => undefined;
    const readiness = new Promise<void>((resolve) => (becomeReady = resolve));
    if (options.isSlowToStart !== true) becomeReady();
    return {
      name,
      becomeReady,
      end: (err) => end(err),
      ready: () => readiness,
      run: (signal) =>
        new Promise((resolve, reject) => {
          diary.push(`start ${name}`);
          end = (err) => {
            if (err === undefined) resolve();
            else reject(err);
          };
          signal.addEventListener('abort', () => {
            diary.push(`stop ${name}`);
            if (options.isStubborn !== true) resolve();
          });
        }),
    };
  };
  const manage = (...parts: Part[]) => {
    const clock = createSteppedClock();
    const manager = createManager({ clock, log: silentLog, stopTimeoutMs: 10_000 });
    for (const each of parts) manager.add(each);
    const stop = new AbortController();
    const ended = manager.run(stop.signal).then(
      () => 'ok',
      (err: unknown) => String(err),
    );
    return { clock, stop, ended };
  };

  it('starts in order, each when the one before is ready, and stops in the opposite order', async () => {
    const cache = part('cache', { isSlowToStart: true });
    const { stop, ended } = manage(part('server'), cache, part('controller'));
    await settle();
    expect(diary).to.deep.equal(['start server', 'start cache']);
    cache.becomeReady();
    await settle();
    expect(diary).to.deep.equal(['start server', 'start cache', 'start controller']);
    stop.abort();
    expect(await ended).to.equal('ok');
    expect(diary.slice(3)).to.deep.equal(['stop controller', 'stop cache', 'stop server']);
  });

  it('stops everything when a part fails, and says which and why', async () => {
    const broken = part('broken');
    const { ended } = manage(part('server'), broken);
    await settle();
    broken.end(new Error('no'));
    expect(await ended).to.equal('Error: broken failed');
    expect(diary).to.include('stop server');
  });

  it('stops everything when a part ends although nobody told it to', async () => {
    const quitter = part('quitter');
    const { ended } = manage(quitter, part('other'));
    await settle();
    quitter.end();
    expect(await ended).to.contain('quitter ended before it was told to');
  });

  it('does not wait for readiness that never comes: shutdown and failure go first', async () => {
    const first = manage(part('stuck', { isSlowToStart: true }), part('never'));
    await settle();
    first.stop.abort();
    expect(await first.ended).to.equal('ok');
    const dying = part('dying', { isSlowToStart: true });
    const second = manage(dying, part('never'));
    await settle();
    dying.end(new Error('address in use'));
    expect(await second.ended).to.contain('dying failed');
    expect(diary).to.not.include('start never');
  });

  it('leaves behind what does not stop in time, and stops the rest', async () => {
    const { clock, stop, ended } = manage(part('server'), part('stubborn', { isStubborn: true }));
    await settle();
    stop.abort();
    await clock.step(10_000);
    expect(await ended).to.equal('ok');
    expect(diary).to.include('stop server');
  });

  it('starts nothing when it is told to stop before', async () => {
    const clock = createSteppedClock();
    const manager = createManager({ clock, log: silentLog, stopTimeoutMs: 1 });
    manager.add(part('a'));
    await manager.run(AbortSignal.abort());
    expect(diary).to.deep.equal([]);
  });
});
