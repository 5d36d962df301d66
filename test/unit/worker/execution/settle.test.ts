/** What ends in one turn is settled together: that one cannot be settled must cost the others nothing. */
import { expect } from 'chai';
import type { Logger } from '../../../../operator/runtime/log.ts';
import type { Continuation } from '../../../../worker/canvas/continuation.ts';
import { createExecutor, type Executor, type Observer } from '../../../../worker/execution/executor.ts';
import type { Request } from '../../../../worker/execution/request.ts';
import { createLeftBehind } from '../../../../worker/pool/leftBehind.ts';
import { brokerKeys } from '../../../../worker/protocol/keys.ts';
import { buildMessage } from '../../../../worker/protocol/message.ts';
import type { ResultMeta } from '../../../../worker/protocol/result.ts';
import type { ResultBackend } from '../../../../worker/results/backend.ts';
import { task } from '../../../../worker/task/define.ts';
import { createRegistry } from '../../../../worker/task/registry.ts';
import type { Consumer } from '../../../../worker/transport/consumer.ts';
import { newDelivery } from '../../../../worker/transport/exchange.ts';
import { silentLog } from '../../../support/silentLog.ts';
import { createSteppedClock, settle } from '../../../support/steppedClock.ts';

describe('what ends in one turn', () => {
  let stored: string[];
  let acked: string[];
  let released: string[];
  let told: string[];
  let logged: Readonly<Record<string, unknown>>[];
  let executor: Executor;
  /** What is broken, by the id of a task. */
  let broken: Readonly<Record<string, 'following' | 'storing' | 'telling'>>;

  beforeEach(() => {
    [stored, acked, released, told, logged] = [[], [], [], [], []];
    const consumer: Partial<Consumer> = {
      ack: ({ tag }) => void acked.push(tag),
      release: ({ tag }) => void released.push(tag),
      wake: () => undefined,
    };
    const backend: Partial<ResultBackend> = {
      takesRoundTrip: false,
      store({ taskId, status }: ResultMeta) {
        if (broken[taskId] === 'storing') throw new Error('cannot be stored');
        stored.push(`${taskId} ${status}`);
        return undefined;
      },
    };
    const continuation: Partial<Continuation> = {
      succeeded({ id }) {
        if (broken[id] === 'following') throw new Error('what follows cannot be read');
        return undefined;
      },
      failed: () => undefined,
    };
    const observer: Observer = {
      received: () => undefined,
      started: () => undefined,
      dropped: () => undefined,
      ended({ message: { id } }, state) {
        if (broken[id] === 'telling') throw new Error('cannot be told');
        told.push(`${id} ${state}`);
      },
    };
    const log: Logger = { ...silentLog, error: (message, fields) => void logged.push({ message, ...fields }) };
    executor = createExecutor({
      consumer: () => consumer as Consumer,
      registry: createRegistry([task('echo', { autoretryFor: true }, () => 'done')]),
      backend: backend as ResultBackend,
      keys: brokerKeys(),
      clock: createSteppedClock(),
      ...{ log, observer, continuation: continuation as Continuation },
      isRevoked: () => false,
      leftBehind: createLeftBehind<Request>(),
      ...{ hostname: 'muster@test', concurrency: 4, prefetch: 'fair', ackMode: 'late' },
    });
  });

  const run = async (ids: readonly string[]): Promise<void> => {
    for (const id of ids) {
      const { raw } = buildMessage({ task: 'echo', id, tag: id, routingKey: 'work' });
      executor.receive(newDelivery(id, 'work', 'work', raw));
    }
    executor.settle();
    await settle();
    expect(executor.slots.running).to.equal(0);
    expect([...executor.requests()]).to.have.length(0);
  };

  it('fails, and is not retried, when what follows it throws; the others succeed', async () => {
    broken = { b: 'following' };
    await run(['a', 'b', 'c']);
    expect(stored.sort()).to.deep.equal(['a SUCCESS', 'b FAILURE', 'c SUCCESS']);
    expect(acked.sort()).to.deep.equal(['a', 'b', 'c']);
    expect(told.sort()).to.deep.equal(['a SUCCESS', 'b FAILURE', 'c SUCCESS']);
    expect(released).to.deep.equal([]);
  });

  it('is released, and a line says which, when its failure cannot be stored either', async () => {
    broken = { b: 'storing' };
    await run(['a', 'b', 'c']);
    expect(stored).to.deep.equal(['a SUCCESS', 'c SUCCESS']);
    expect(acked).to.deep.equal(['a', 'c']);
    expect(released).to.deep.equal(['b']);
    expect(logged[0]).to.include({ message: 'the outcome of a task could not be stored', task: 'echo', id: 'b' });
  });

  it('is settled although its end cannot be told', async () => {
    broken = { b: 'telling' };
    await run(['a', 'b', 'c']);
    expect(stored).to.deep.equal(['a SUCCESS', 'b SUCCESS', 'c SUCCESS']);
    expect(acked).to.deep.equal(['a', 'b', 'c']);
    expect(told).to.deep.equal(['a SUCCESS', 'c SUCCESS']);
    expect(logged[0]).to.include({ message: 'the end of a task could not be told', task: 'echo', id: 'b' });
  });
});
