import { expect } from 'chai';
import fc from 'fast-check';
import { createBoard, type Board, type Brought, type Chosen } from '../../../operator/broker/board.ts';
import { parseEndpoint, type BrokerEndpoint } from '../../../operator/broker/endpoint.ts';

const endpoint = ((): BrokerEndpoint => {
  const result = parseEndpoint({ url: 'redis://redis/0' });
  if (result.kind === 'invalid') throw new Error(result.message);
  return result.endpoint;
})();
const restMs = 2000;

/** An answer: so many ready in each chosen queue, so many held. */
const answer = (chosen: Chosen, ready: number, held: Record<string, number> = {}): Brought => ({
  ready: chosen.queues.map(() => ({ kind: 'ok', ready })),
  ...(chosen.held ? { held: { kind: 'ok', byQueue: new Map(Object.entries(held)) } } : {}),
});
/** A board whose queues were read once at 0. */
const readBoard = (...queues: string[]): Board => {
  const board = createBoard(endpoint, restMs);
  for (const queue of queues) board.add(queue);
  const chosen = board.choose(0, true, true);
  board.absorb(chosen, answer(chosen, 0), 0);
  return board;
};

describe('createBoard', () => {
  it('does not know a queue that was never read', () => {
    const board = createBoard(endpoint, restMs);
    board.add('a');
    expect(board.reading('a').value).to.deep.equal({ kind: 'unknown', why: 'not read yet' });
    expect(board.nextDueMs(0)).to.be.lessThan(0);
  });

  it('does not know a queue that nobody asked for', () => {
    expect(readBoard('a').reading('b').value).to.deep.equal({ kind: 'unknown', why: 'queue b is not read' });
  });

  it('has nothing to do while nothing changes', () => {
    const board = readBoard('a', 'b');
    board.tick(false);
    expect(board.nextDueMs(0)).to.equal(Infinity);
    expect(board.choose(5000, false, true)).to.deep.equal({ queues: [], held: false });
  });

  it('reads a queue at rest at once, and only that one', () => {
    const board = readBoard('a', 'b');
    board.announced(['a'], 10_000);
    expect(board.nextDueMs(0)).to.equal(10_000);
    const chosen = board.choose(10_000, false, true);
    expect(chosen.queues.map(({ name }) => name)).to.deep.equal(['a']);
    expect(board.absorb(chosen, answer(chosen, 3), 10_000)).to.deep.equal(['a']);
    expect(board.reading('a')).to.deep.equal({ at: 10_000, isCurrent: true, value: { kind: 'ok', ready: 3, held: 0 } });
  });

  it('is not current from the announcement of a change until it is answered', () => {
    const board = readBoard('a', 'b');
    expect(board.reading('a').isCurrent).to.equal(true);
    board.announced(['a'], 10_000);
    expect(board.reading('a').isCurrent, 'announced').to.equal(false);
    const chosen = board.choose(10_000, false, true);
    expect(board.reading('a').isCurrent, 'asked').to.equal(false);
    expect(board.reading('b').isCurrent, 'another queue').to.equal(true);
    board.absorb(chosen, answer(chosen, 3), 10_000);
    expect(board.reading('a').isCurrent, 'answered').to.equal(true);
  });

  it('is not current for one who heard something after it was read, until lists and held messages are read again', () => {
    const board = readBoard('a', 'b');
    expect(board.reading('a', 0).isCurrent).to.equal(true);
    expect(board.reading('a', 5000).isCurrent, 'heard at 5000').to.equal(false);
    expect(board.nextDueMs(0), 'nothing is read before the tick').to.equal(Infinity);
    board.tick(false);
    const lists = board.choose(6000, false, false);
    expect(board.absorb(lists, answer(lists, 0), 6000)).to.deep.equal([]);
    expect(board.reading('a', 5000).isCurrent, 'held messages not counted again').to.equal(false);
    const held = board.choose(6500, false, true);
    expect(board.absorb(held, answer(held, 0), 6500), 'told, though nothing changed').to.deep.equal(['a']);
    expect(board.reading('a', 5000).isCurrent).to.equal(true);
    expect(board.reading('a', 5000).at).to.equal(6000);
    const again = board.choose(7000, true, true);
    expect(board.absorb(again, answer(again, 0), 7000), 'told once').to.deep.equal([]);
  });

  it('is not current for one who heard something while it was being read', () => {
    const board = readBoard('a');
    board.announced(['a'], 10_000);
    const chosen = board.choose(10_000, false, true);
    expect(board.reading('a', 10_001).isCurrent).to.equal(false);
    board.absorb(chosen, answer(chosen, 1), 10_000);
    expect(board.reading('a', 10_001).isCurrent).to.equal(false);
    board.tick(false);
    const next = board.choose(12_000, false, true);
    board.absorb(next, answer(next, 1), 12_000);
    expect(board.reading('a', 10_001).isCurrent).to.equal(true);
  });

  it('wakes for a priority list too', () => {
    const board = readBoard('a');
    board.announced(['a\x06\x169'], 10_000);
    expect(board.nextDueMs(0)).to.equal(10_000);
  });

  it('reads a queue that keeps changing ever later, and then on the tick', () => {
    const board = readBoard('a');
    const dueAfterMs: number[] = [];
    let nowMs = 10_000;
    for (let i = 0; i < 6; i += 1) {
      board.announced(['a'], nowMs);
      const dueMs = board.nextDueMs(0);
      dueAfterMs.push(dueMs - nowMs);
      nowMs = dueMs === Infinity ? nowMs + restMs : dueMs;
      if (dueMs === Infinity) board.tick(false);
      const chosen = board.choose(nowMs, false, true);
      board.absorb(chosen, answer(chosen, i), nowMs);
    }
    expect(dueAfterMs).to.deep.equal([0, 75, 300, 1200, Infinity, Infinity]);
  });

  it('takes a busy queue for one at rest again when it was quiet for a while', () => {
    const board = readBoard('a');
    for (let nowMs = 10_000; nowMs < 10_010; nowMs += 1) {
      board.announced(['a'], nowMs);
      board.tick(false);
      const chosen = board.choose(nowMs, false, true);
      board.absorb(chosen, answer(chosen, 1), nowMs);
    }
    const full = board.choose(11_000, true, true);
    board.absorb(full, answer(full, 1), 11_000);
    board.announced(['a'], 12_500);
    expect(board.nextDueMs(0)).to.equal(12_500);
  });

  it('reads what workers hold together with any queue, so that a task that was taken is in one of the numbers', () => {
    const board = readBoard('a', 'b');
    board.announced(['unacked'], 1);
    board.announced(['a'], 10_000);
    const chosen = board.choose(10_000, false, true);
    expect(chosen.held).to.equal(true);
    expect(board.absorb(chosen, answer(chosen, 0, { b: 2 }), 10_000)).to.deep.equal(['b']);
    expect(board.reading('b').value).to.deep.equal({ kind: 'ok', ready: 0, held: 2 });
  });

  it('reads every list that changed together with what workers hold, so that a task that was taken is not in both', () => {
    const board = readBoard('a', 'b');
    board.announced(['a', 'b'], 10_000);
    const first = board.choose(10_000, false, true);
    board.absorb(first, answer(first, 3), 10_000);
    board.announced(['a', 'unacked'], 10_010);
    expect(board.nextDueMs(0), 'the held messages, which were at rest').to.equal(10_010);
    const second = board.choose(10_010, false, true);
    expect(second.held).to.equal(true);
    expect(
      second.queues.map(({ name }) => name),
      'not due by itself',
    ).to.deep.equal(['a']);
    board.absorb(second, answer(second, 1, { a: 2 }), 10_010);
    expect(board.reading('a').value).to.deep.equal({ kind: 'ok', ready: 1, held: 2 });
  });

  it('does not read the held messages again before their rest is over', () => {
    const board = readBoard('a');
    board.announced(['unacked'], 10_000);
    expect(board.nextDueMs(10_500)).to.equal(10_500);
    expect(board.choose(10_400, false, false).held).to.equal(false);
    expect(board.choose(10_500, false, true).held).to.equal(true);
  });

  it('gives back keys that are not its own', () => {
    expect(readBoard('a').announced(['a', 'unacked', '_kombu.binding.x'], 1)).to.deep.equal(['_kombu.binding.x']);
  });

  it('reads everything after a FLUSHALL, at once', () => {
    const board = readBoard('a', 'b');
    board.announcedAll(10_000);
    const chosen = board.choose(10_000, false, true);
    expect(chosen.queues).to.have.length(2);
    expect(chosen.held).to.equal(true);
  });

  it('knows nothing while the broker cannot be read, and says why', () => {
    const board = readBoard('a');
    board.fail('it is down', 7);
    board.add('new');
    for (const queue of ['a', 'new']) {
      expect(board.reading(queue).value).to.deep.equal({ kind: 'unknown', why: 'it is down' });
    }
  });

  it('does not mix what was held before a failure with what is read after it', () => {
    const board = readBoard('a', 'b');
    board.fail('it is down', 1);
    board.announced(['a'], 10_000);
    const chosen = { ...board.choose(10_000, false, true) };
    expect(chosen.held).to.equal(false);
    board.absorb(chosen, answer(chosen, 4), 10_000);
    expect(board.reading('a').value).to.deep.equal({ kind: 'readyOnly', ready: 4, why: 'it is down' });
    expect(board.reading('b').value).to.deep.equal({ kind: 'unknown', why: 'it is down' });
  });

  it('knows what is ready when it cannot know what is held', () => {
    const board = readBoard('a');
    const chosen = board.choose(1, true, true);
    const changed = board.absorb(chosen, { ...answer(chosen, 5), held: { kind: 'unknown', why: 'too many' } }, 1);
    expect(changed).to.deep.equal(['a']);
    expect(board.reading('a').value).to.deep.equal({ kind: 'readyOnly', ready: 5, why: 'too many' });
  });

  it('asks again on the next tick for a queue that may not be read, and not for one of a wrong type', () => {
    const board = readBoard('a', 'b');
    const chosen = board.choose(1, true, true);
    board.absorb(
      chosen,
      {
        ...answer(chosen, 0),
        ready: [
          { kind: 'unknown', why: 'no permission', retry: true },
          { kind: 'unknown', why: 'wrong type', retry: false },
        ],
      },
      1,
    );
    board.tick(false);
    expect(board.choose(2, false, true).queues.map(({ name }) => name)).to.deep.equal(['a']);
  });

  it('forgets a queue that is removed, also while it is being read', () => {
    const board = readBoard('a', 'b');
    const chosen = board.choose(1, true, true);
    board.remove('a');
    expect(board.absorb(chosen, answer(chosen, 9), 1)).to.deep.equal(['b']);
    expect(board.reading('a').value.kind).to.equal('unknown');
    expect(board.announced(['a'], 2)).to.deep.equal(['a']);
  });

  it('never loses a change and never shows an old one, in any order of announcements, answers and ticks', () => {
    const queues = ['a', 'b', 'c'];
    const step = fc.oneof(
      fc.record({ kind: fc.constant('change' as const), queue: fc.constantFrom(...queues), ms: fc.nat(3000) }),
      fc.record({ kind: fc.constant('read' as const), full: fc.boolean(), ms: fc.nat(3000) }),
      fc.record({ kind: fc.constant('answer' as const), ms: fc.nat(50) }),
      fc.record({ kind: fc.constant('tick' as const), ms: fc.nat(3000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const truth = new Map(queues.map((queue) => [queue, 0]));
        /** What Redis remembers that this client has read and must be told of. */
        const tracked = new Set<string>();
        const board = createBoard(endpoint, restMs);
        for (const queue of queues) board.add(queue);
        let nowMs = 0;
        let under: { chosen: Chosen; result: Brought } | undefined;
        const send = (full: boolean): void => {
          const chosen = board.choose(nowMs, full, true);
          for (const { name } of chosen.queues) tracked.add(name);
          const ready = chosen.queues.map(({ name }) => ({ kind: 'ok' as const, ready: truth.get(name) ?? 0 }));
          const result: Brought = { ...answer(chosen, 0), ready };
          under = { chosen, result };
        };
        const receive = (): void => {
          if (under !== undefined) board.absorb(under.chosen, under.result, nowMs);
          under = undefined;
        };
        for (const each of steps) {
          nowMs += each.ms;
          if (each.kind === 'change') {
            truth.set(each.queue, (truth.get(each.queue) ?? 0) + 1);
            if (tracked.delete(each.queue)) board.announced([each.queue], nowMs);
          } else if (each.kind === 'tick') board.tick(false);
          else if (each.kind === 'answer') receive();
          else if (under === undefined) send(each.full);
        }
        // The next tick reads whatever is out of date, and nothing else is needed.
        receive();
        board.tick(false);
        send(false);
        receive();
        for (const queue of queues) {
          expect(board.reading(queue).value).to.deep.equal({ kind: 'ok', ready: truth.get(queue), held: 0 });
        }
      }),
    );
  });
});
