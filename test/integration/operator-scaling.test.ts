// From what is in the queue to the size of the Deployment: each decision is taken at once, in one step, and is said in
// one place each; and while nothing changes nothing is written.
import { expect } from 'chai';
import { resources, type RawDeployment } from '../../operator/kube/types.ts';
import { eventually } from '../support/eventually.ts';
import type { LogLine } from '../support/operator.ts';
import { startStage, type Stage, type Stall } from '../support/operatorStage.ts';

const fullReadMs = 1000;

describe('the size of a pool', function () {
  this.timeout(60_000);
  let stage: Stage;
  let stall: Stall;
  let queue: string;
  before(async () => {
    stage = await startStage(['--full-read-ms', String(fullReadMs), '--tick-ms', '500']);
  });
  after(() => stage.stop());
  beforeEach(async () => {
    stall = await stage.stall();
    queue = `${stall.namespace}-a`;
  });

  const wantReplicas = (want: number, timeoutMs = 10_000): Promise<unknown> =>
    eventually(async () => expect(await stall.replicas('a')).to.equal(want), { timeoutMs });
  /** The lines that say that the pool `a` was scaled. */
  const scaledLines = (): LogLine[] =>
    stage.operator.log.filter(
      (line) => line.message === 'scaled' && line['namespace'] === stall.namespace && line['name'] === 'a',
    );
  const scaledEvents = async (): Promise<string[]> =>
    (await stall.events()).filter(({ reason }) => reason === 'Scaled').map(({ note }) => note);
  /** Every size that the Deployment of the pool `a` goes through from now on. */
  const watchSizes = async (): Promise<{ sizes: number[]; end: () => Promise<void> }> => {
    const sizes: number[] = [];
    const end = await stall.watch<RawDeployment>(resources.deployments, ({ spec }) => {
      if (spec?.replicas !== sizes.at(-1)) sizes.push(spec?.replicas ?? -1);
    });
    return { sizes, end };
  };

  it('goes from zero with the first task, and says so once in the status, an event and the log', async () => {
    await stall.apply(stall.pool('a'), 'settle');
    await stall.push(queue);
    await wantReplicas(1);
    await eventually(async () => {
      const { lastDecision, desiredReplicas } = await stall.status('a');
      expect(desiredReplicas).to.equal(1);
      expect(lastDecision).to.deep.include({ from: 0, to: 1, reason: 'Backlog' });
      expect(lastDecision?.message).to.equal('1 task outstanding at 1 per pod');
      expect(lastDecision?.inputs).to.deep.equal({
        ...{ waiting: 1, running: 0, held: 0, tasksPerReplica: 1, minReplicas: 0, maxReplicas: 10 },
      });
    });
    await eventually(async () =>
      expect(await scaledEvents()).to.deep.equal(['0 → 1 replicas: 1 task outstanding at 1 per pod']),
    );
    await eventually(() => expect(scaledLines()).to.have.length(1));
    expect(scaledLines()[0]).to.deep.include({ level: 'info', from: 0, to: 1, reason: 'Backlog' });
  });

  it('goes from one to many in one step, and no further than maxReplicas', async () => {
    await stall.apply(stall.pool('a').min(1).max(6), 'settle');
    const { sizes, end } = await watchSizes();
    await stall.push(queue, 5);
    await wantReplicas(5);
    await stall.push(queue, 20);
    await wantReplicas(6);
    // The watch may be a moment behind what was just read.
    await eventually(() => expect(sizes).to.deep.equal([1, 5, 6]));
    await end();
    await eventually(async () => {
      expect(await stall.condition('a', 'Scaling')).to.match(/^True\/AtMaximum: .*scaling\.maxReplicas \(6\)/);
      const { lastDecision } = await stall.status('a');
      expect(lastDecision).to.deep.include({ from: 5, to: 6, limitedBy: 'MaxReplicas' });
    });
    await stall.patch('a', { scaling: { maxReplicas: 8 } });
    await wantReplicas(8);
  });

  it('counts priorities of Celery as one queue, and tasksPerReplica tasks for a pod', async () => {
    await stall.apply(stall.pool('a').scaling({ tasksPerReplica: 4 }), 'settle');
    await stall.push(queue, 4);
    await stall.push(`${queue}\x06\x163`, 4);
    await stall.push(`${queue}\x06\x169`, 1);
    await wantReplicas(3);
    await eventually(async () => expect((await stall.status('a')).tasks?.waiting).to.equal(9));
  });

  it('is never below minReplicas, and follows it', async () => {
    await stall.apply(stall.pool('a').scaling({ minReplicas: 2, idleSeconds: 1 }), 'settle');
    await wantReplicas(2);
    await stall.patch('a', { scaling: { minReplicas: 3 } });
    await wantReplicas(3);
    await stall.patch('a', { scaling: { minReplicas: 0 } });
    await wantReplicas(0);
    await eventually(() =>
      expect(scaledLines().map(({ from, to, reason }) => [from, to, reason])).to.deep.equal([
        [0, 2, 'BelowMinimum'],
        [2, 3, 'BelowMinimum'],
        [3, 0, 'Idle'],
      ]),
    );
  });

  it('goes back to the minimum after idleSeconds without a task, and not before', async () => {
    await stall.apply(stall.pool('a').scaling({ idleSeconds: 3 }), 'settle');
    await stall.push(queue, 2);
    await wantReplicas(2);
    await stage.redis.command('DEL', queue);
    const emptied = performance.now();
    await wantReplicas(0);
    expect(performance.now() - emptied).to.be.at.least(2900);
    await eventually(async () =>
      expect((await stall.status('a')).lastDecision).to.deep.include({ from: 2, to: 0, reason: 'Idle' }),
    );
  });

  it('is fixed by kubectl scale, and set by Muster again when spec.replicas is removed', async () => {
    await stall.apply(stall.pool('a').scaling({ idleSeconds: 1 }), 'settle');
    const kubectl = (...args: string[]): Promise<string> => stage.kubectl(['--namespace', stall.namespace, ...args]);
    await kubectl('scale', 'wp/a', '--replicas=3');
    await wantReplicas(3);
    await eventually(async () =>
      expect(await stall.condition('a', 'Scaling')).to.match(/^False\/Fixed: .*fixes the size at 3/),
    );
    await stall.push(queue, 9);
    await eventually(async () => expect((await stall.status('a')).tasks?.waiting).to.equal(9));
    expect(await stall.replicas('a')).to.equal(3);
    await kubectl('scale', 'wp/a', '--replicas=0');
    await wantReplicas(0);
    await kubectl('patch', 'wp/a', '--type=json', '--patch=[{"op": "remove", "path": "/spec/replicas"}]');
    await wantReplicas(9);
    // The status follows the size.
    await eventually(async () => expect(await stall.condition('a', 'Scaling')).to.match(/^True\/Auto/));
    await stage.redis.command('DEL', queue);
    await wantReplicas(0);
  });

  it('is only recommended with mode Recommend', async () => {
    await stall.apply(stall.pool('a').scaling({ mode: 'Recommend', idleSeconds: 1 }), 'settle');
    const { sizes, end } = await watchSizes();
    await stall.push(queue, 4);
    await eventually(async () => expect((await stall.status('a')).desiredReplicas).to.equal(4));
    expect(await stall.condition('a', 'Scaling')).to.match(/^False\/Recommend: .*would run 4 pods/);
    // Whoever sets the size instead is not corrected.
    await stage.kubectl(['--namespace', stall.namespace, 'scale', 'deployment/a', '--replicas=2']);
    await stage.redis.command('DEL', queue);
    await eventually(async () => expect((await stall.status('a')).desiredReplicas).to.equal(0));
    // The watch may be a moment behind what was just read.
    await eventually(() => expect(sizes).to.deep.equal([0, 2]));
    await end();
    expect(await scaledEvents()).to.deep.equal([]);
    expect((await stall.status('a')).lastDecision).to.equal(undefined);
  });

  it('writes nothing while nothing changes, however often the queues are read', async () => {
    await stall.apply(stall.pool('a').min(1), 'settle');
    await stall.apply(stall.pool('b'), 'settle');
    await stall.push(`${stall.namespace}-b`, 3);
    await eventually(async () => expect(await stall.pods('b')).to.have.length(3));
    const labels = { broker: `127.0.0.1:${stage.redis.port}/0` };
    const reads = async (): Promise<number> =>
      (await stage.operator.metric('muster_broker_round_trips_total', labels)) ?? NaN;
    const looks = async (): Promise<number> => {
      const result = { controller: 'workerpool', result: 'requeue_after' };
      return (await stage.operator.metric('controller_runtime_reconcile_total', result)) ?? NaN;
    };
    // Still: several full reads and several looks at pools without a write. Were there one at each, this would never be.
    let quiet = { writes: -1, reads: 0, looks: 0 };
    await eventually(
      async () => {
        const now = { writes: await stage.operator.writes(), reads: await reads(), looks: await looks() };
        if (now.writes !== quiet.writes) quiet = now;
        expect(now.reads - quiet.reads).to.be.at.least(8);
        expect(now.looks - quiet.looks).to.be.at.least(4);
      },
      { timeoutMs: 40_000, intervalMs: 100 },
    );
  });
});
