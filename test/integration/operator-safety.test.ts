// A pool never shrinks from under a task: an empty queue says nothing about what its workers run. The workers here are
// real ones; only the kubelet, which would have started them, is played.
import { expect } from 'chai';
import type { RawPod } from '../../operator/kube/types.ts';
import { ensureCelery, makeGate, runPython, startWorker } from '../support/celery.ts';
import type { Celery, CeleryWorker, Gate } from '../support/celery.ts';
import { eventually } from '../support/eventually.ts';
import { actAsKubelet, runningFor } from '../support/kubectl.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

describe('shrinking', function () {
  this.timeout(90_000);
  let stage: Stage;
  let stall: Stall;
  let celery: Celery;
  let gate: Gate;
  let worker: CeleryWorker | undefined;
  before(async function () {
    this.timeout(180_000);
    celery = await ensureCelery('5.6.3');
    stage = await startStage();
  });
  after(() => stage.stop());
  beforeEach(async () => {
    stall = await stage.stall();
    gate = await makeGate();
  });
  afterEach(async () => {
    await worker?.stop();
    worker = undefined;
    await gate.remove();
  });

  const idleSeconds = 1;
  const pool = (): ReturnType<Stall['pool']> => stall.pool('a').app('plain').scaling({ idleSeconds });
  const send = (count: number): Promise<string> =>
    runPython(
      celery,
      `import plain\nfor n in range(${count}): plain.gated.apply_async((str(n),), queue='${stall.namespace}-a')`,
      { CELERY_BROKER_URL: `${stage.redis.url}/0`, GATE_DIR: gate.dir },
    );
  const onePod = async (): Promise<RawPod> => {
    await eventually(async () => expect(await stall.pods('a')).to.have.length(1));
    return (await stall.pods('a'))[0]!;
  };
  /** What a node does with a pod: starts the worker in it and says that it runs. */
  const runWorker = async (pod: RawPod): Promise<CeleryWorker> => {
    const node = `a@${pod.metadata.name}`;
    worker = await startWorker({ celery, pool: pool().obj(), gate, args: ['-n', node] });
    await actAsKubelet(stage.api.client, pod, runningFor(120));
    return worker;
  };
  /** As long as an idle pool with the same idleSeconds needs to shrink, and once more. */
  const untilIdlePoolsHaveShrunk = async (): Promise<void> => {
    for (const size of [2, 1]) {
      await stall.apply(stall.pool('idle').scaling({ minReplicas: size, idleSeconds }), 'settle');
      await eventually(async () => expect(await stall.replicas('idle')).to.equal(size));
      await stall.patch('idle', { scaling: { minReplicas: 0 } });
      await eventually(async () => expect(await stall.replicas('idle')).to.equal(0));
    }
  };
  const want = (type: string, pattern: RegExp): Promise<unknown> =>
    eventually(async () => expect(await stall.condition('a', type)).to.match(pattern), { timeoutMs: 20_000 });

  it('waits for the last task, though the queue is empty and nothing is unacknowledged', async () => {
    await stall.apply(pool().scaling({ idleSeconds, tasksPerReplica: 3 }), 'settle');
    await send(3);
    await runWorker(await onePod());
    await eventually(async () =>
      expect((await stall.status('a')).tasks).to.deep.equal({ waiting: 2, running: 1, held: 0 }),
    );
    // Somebody takes the waiting ones away: one task runs, and nothing else says so than the worker.
    await stage.redis.command('DEL', `${stall.namespace}-a`);
    await eventually(async () =>
      expect((await stall.status('a')).tasks).to.deep.equal({ waiting: 0, running: 1, held: 0 }),
    );
    expect(await stage.redis.command('HLEN', 'unacked')).to.equal(0);
    await untilIdlePoolsHaveShrunk();
    expect(await stall.replicas('a')).to.equal(1);

    // An operator that has just started knows as little as it did then, and waits as well.
    await stage.restartOperator();
    await eventually(async () => expect((await stall.status('a')).tasks?.running).to.equal(1));
    await untilIdlePoolsHaveShrunk();
    expect(await stall.replicas('a')).to.equal(1);

    await gate.open();
    await eventually(async () => expect(await stall.replicas('a')).to.equal(0));
    expect(await gate.ended()).to.deep.equal(['0']);
    // The status follows the size.
    await eventually(async () =>
      expect((await stall.status('a')).lastDecision).to.deep.include({ from: 1, to: 0, reason: 'Idle' }),
    );
  });

  it('waits while a worker is silent, says so, and goes on when it is heard again', async () => {
    await stall.apply(pool(), 'settle');
    await send(1);
    const running = await runWorker(await onePod());
    await eventually(async () => expect((await stall.status('a')).tasks?.running).to.equal(1));
    running.signal('SIGSTOP');
    await want('WorkerHazard', /^True\/Silent: nothing is heard from the worker of a-/);
    await gate.open();
    await eventually(async () => expect(await gate.ended()).to.deep.equal(['0']));
    await want(
      'Scaling',
      /^False\/SignalUnknown: holding 1: cannot prove that no task is held or running \(no heartbeat/,
    );
    expect((await stall.status('a')).tasks?.running).to.equal(undefined);
    await untilIdlePoolsHaveShrunk();
    expect(await stall.replicas('a')).to.equal(1);
    running.signal('SIGCONT');
    await eventually(async () => expect(await stall.replicas('a')).to.equal(0));
    await want('Scaling', /^True\/Auto/);
    await want('WorkerHazard', /^$/);
  });

  it('grows by what the other workers run while one is silent', async () => {
    await stall.apply(pool(), 'settle');
    await send(2);
    await eventually(async () => expect(await stall.pods('a')).to.have.length(2));
    const [busy, silent] = await stall.pods('a');
    await actAsKubelet(stage.api.client, silent!, runningFor(120));
    await runWorker(busy!);
    await want('WorkerHazard', /^True\/Silent/);
    await eventually(async () => expect((await stall.status('a')).tasks?.waiting).to.equal(1));
    // One runs, acknowledged early: the broker has two of the three tasks.
    await send(1);
    await eventually(async () => expect(await stall.replicas('a')).to.equal(3));
    expect((await stall.status('a')).tasks?.running).to.equal(undefined);
  });

  it('waits for a worker that was never heard, and not for a pod whose worker does not run', async () => {
    await stall.apply(pool(), 'settle');
    await stall.push(`${stall.namespace}-a`);
    const pod = await onePod();
    await actAsKubelet(stage.api.client, pod, runningFor(5));
    await eventually(async () => expect(await stall.condition('a', 'Ready')).to.match(/^True\/Running/));
    await stage.redis.command('DEL', `${stall.namespace}-a`);
    await want('Scaling', /^False\/SignalUnknown: .*no heartbeat from the worker in pod a-/);
    await untilIdlePoolsHaveShrunk();
    expect(await stall.replicas('a')).to.equal(1);
    await actAsKubelet(stage.api.client, pod, { state: { waiting: { reason: 'CrashLoopBackOff' } } });
    await eventually(async () => expect(await stall.replicas('a')).to.equal(0));
  });
});
