/** Tasks as a user writes them, and how a worker finds them. */
import { expect } from 'chai';
import { isTask, task } from '../../../../worker/task/define.ts';
import { createRegistry, tasksOf } from '../../../../worker/task/registry.ts';

const noop = (): void => undefined;

describe('task', () => {
  it('refuses an empty name', () => expect(() => task(' ', {}, noop)).to.throw(TypeError, 'needs a name'));
  it('refuses an option out of range, and names task and option', () => {
    expect(() => task('a.b', { timeLimitSeconds: -1 }, noop)).to.throw(TypeError, 'task a.b: timeLimitSeconds is -1');
    expect(() => task('a.b', { maxRetries: 1.5 }, noop)).to.throw(TypeError, 'task a.b: maxRetries is 1.5');
    expect(() => task('a.b', { retryBackoffSeconds: Infinity }, noop)).to.throw(TypeError, 'retryBackoffSeconds');
  });
  it('is known by what it is, not by where it was imported from', () => {
    expect(isTask(task('a', {}, noop))).to.equal(true);
    for (const other of [undefined, null, noop, {}, { kind: 'task' }]) expect(isTask(other)).to.equal(false);
  });
});

describe('tasksOf', () => {
  it('finds exported tasks, those in exported lists too, each once', () => {
    const [a, b] = [task('a', {}, noop), task('b', {}, noop)];
    expect(tasksOf({ a, again: a, list: [b, 'x'], other: 1 })).to.deep.equal([a, b]);
  });
});

describe('createRegistry', () => {
  it('finds a task by its name and no other', () => {
    const a = task('a', {}, noop);
    const registry = createRegistry([task('b', {}, noop), a]);
    expect(registry.find('a')).to.equal(a);
    expect(registry.find('toString')).to.equal(undefined);
    expect(registry.names).to.deep.equal(['a', 'b']);
  });
  it('refuses two tasks of one name, and names it', () => {
    expect(() => createRegistry([task('a', {}, noop), task('a', {}, noop)])).to.throw('two tasks are called a');
  });
});
