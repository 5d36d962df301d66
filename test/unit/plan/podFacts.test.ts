import { expect } from 'chai';
import { lastWords, redact } from '../../../operator/plan/lastWords.ts';
import { readPodFacts, type PodFacts, type PodView } from '../../../operator/plan/podFacts.ts';

const nowMs = Date.UTC(2026, 0, 1, 12);
const at = (secondsAgo: number): string => new Date(nowMs - secondsAgo * 1000).toISOString();

type Status = NonNullable<PodView['status']>;
type Container = NonNullable<Status['containerStatuses']>[number];
type State = NonNullable<Container['state']>;

function container(state: State, more: Partial<Container> = {}): Container {
  return { name: 'worker', image: 'shop:1', imageID: '', ready: false, restartCount: 0, state, ...more };
}

function pod(name: string, status: Status, deletionTimestamp?: string): PodView {
  return { metadata: { name, ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }) }, status };
}

const running = container({ running: { startedAt: at(600) } }, { ready: true });
const isReady: Status['conditions'] = [{ type: 'Ready', status: 'True' }];
const isNotReady: Status['conditions'] = [{ type: 'Ready', status: 'False' }];
const good = (name: string): PodView =>
  pod(name, { phase: 'Running', conditions: isReady, containerStatuses: [running] });
const failing = (name: string, worker: Container): PodView =>
  pod(name, { phase: 'Running', conditions: isNotReady, containerStatuses: [worker] });
const waiting = (reason: string, message?: string): Container =>
  container({ waiting: { reason, ...(message === undefined ? {} : { message }) } });
const facts = (...pods: PodView[]): PodFacts => readPodFacts(pods, ['hunter2'], nowMs);

describe('readPodFacts', () => {
  it('counts ready, starting and terminating pods', () => {
    const starting = pod('b', {
      phase: 'Pending',
      conditions: isNotReady,
      containerStatuses: [waiting('ContainerCreating')],
    });
    const bare = pod('c', {});
    const leaving = pod('d', { phase: 'Running', conditions: isReady, containerStatuses: [running] }, at(5));
    const evicted = pod('e', { phase: 'Failed' });
    expect(facts(good('a'), starting, bare, leaving, evicted)).to.deep.equal({
      ready: 1,
      starting: 2,
      terminating: 1,
      workerRunning: new Map([
        ['a', true],
        ['b', false],
        ['c', false],
        ['d', true],
        ['e', false],
      ]),
      settled: new Set(['a']),
    });
  });

  it('finds nothing where there is no pod', () => {
    expect(facts()).to.deep.equal({
      ready: 0,
      starting: 0,
      terminating: 0,
      workerRunning: new Map(),
      settled: new Set(),
    });
  });

  const cause = 'rpc error: code = NotFound desc = failed to pull shop:1: not found';
  const pullFailure = `image shop:1 of container worker cannot be pulled: ${cause}`;
  const lastSaid = 'Error: Invalid value for -A\nUnable to load celery application.\nThe module nope was not found.\n';
  const crashed = 'Error: Invalid value for -A | Unable to load celery application. | The module nope was not found.';
  const died = { terminated: { exitCode: 2, reason: 'Error', message: lastSaid } };
  const problems: Record<string, { worker: Container; wantReason: string; wantMessage: string }> = {
    'an image that cannot be pulled': {
      worker: waiting('ErrImagePull', cause),
      wantReason: 'ImagePullFailed',
      wantMessage: pullFailure,
    },
    'the back-off after it, in the same words': {
      worker: waiting('ImagePullBackOff', `Back-off pulling image "shop:1": ErrImagePull: ${cause}`),
      wantReason: 'ImagePullFailed',
      wantMessage: pullFailure,
    },
    'a back-off without a cause': {
      worker: waiting('ImagePullBackOff', 'Back-off pulling image "shop:1"'),
      wantReason: 'ImagePullFailed',
      wantMessage: 'image shop:1 of container worker cannot be pulled',
    },
    'an image name that is none': {
      worker: waiting('InvalidImageName', 'couldn\'t parse image name "Shop:1"'),
      wantReason: 'ImagePullFailed',
      wantMessage: 'image shop:1 of container worker cannot be pulled: couldn\'t parse image name "Shop:1"',
    },
    'a Secret that a variable names and that is not there': {
      worker: waiting('CreateContainerConfigError', 'secret "shop" not found'),
      wantReason: 'PodConfigInvalid',
      wantMessage: 'container worker of pod p cannot be started: secret "shop" not found',
    },
    'an app that does not import': {
      worker: container(died),
      wantReason: 'WorkerCrashed',
      wantMessage: `container worker of pod p ended with exit code 2: ${crashed}`,
    },
    'the back-off after a crash': {
      worker: container({ waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } }, { lastState: died }),
      wantReason: 'WorkerCrashed',
      wantMessage: `container worker of pod p ended with exit code 2: ${crashed}`,
    },
    'a worker that used too much memory': {
      worker: container(
        { waiting: { reason: 'CrashLoopBackOff' } },
        { lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } } },
      ),
      wantReason: 'WorkerCrashed',
      wantMessage: 'container worker of pod p was killed for using more memory than its limit (OOMKilled)',
    },
    'a password in the last words': {
      worker: container({
        terminated: { exitCode: 1, message: 'cannot connect to redis://shop:hunter2@redis:6379/0 with hunter2' },
      }),
      wantReason: 'WorkerCrashed',
      wantMessage:
        'container worker of pod p ended with exit code 1: cannot connect to redis://***@redis:6379/0 with ***',
    },
  };
  for (const [name, { worker, wantReason, wantMessage }] of Object.entries(problems)) {
    it(`tells of ${name}`, () => {
      const { problem, ready, starting } = facts(failing('p', worker));
      expect(problem).to.deep.equal({ reason: wantReason, pod: 'p', message: wantMessage });
      expect({ ready, starting }).to.deep.equal({ ready: 0, starting: 1 });
    });
  }

  it('tells of a pod that no node has room for', () => {
    const conditions = [
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes are available' },
    ];
    expect(facts(pod('p', { phase: 'Pending', conditions })).problem).to.deep.equal({
      reason: 'Unschedulable',
      pod: 'p',
      message: 'pod p cannot be placed on a node: 0/1 nodes are available',
    });
  });

  it('tells of an init container that fails', () => {
    const init = container({ terminated: { exitCode: 3, message: 'no schema' } }, { name: 'migrate' });
    const { problem } = facts(
      pod('p', { phase: 'Pending', initContainerStatuses: [init], containerStatuses: [waiting('PodInitializing')] }),
    );
    expect(problem?.message).to.equal('container migrate of pod p ended with exit code 3: no schema');
  });

  it('does not call an init container that ended well a crash', () => {
    const init = container({ terminated: { exitCode: 0, reason: 'Completed' } }, { name: 'migrate' });
    const conditions = isReady;
    expect(
      facts(pod('p', { conditions, initContainerStatuses: [init], containerStatuses: [running] })).problem,
    ).to.equal(undefined);
  });

  it('does not call a worker that crashed and runs again well until it has settled, and says when that is', () => {
    const again = (secondsAgo: number): PodView =>
      pod('p', {
        conditions: isReady,
        containerStatuses: [
          container({ running: { startedAt: at(secondsAgo) } }, { ready: true, restartCount: 1, lastState: died }),
        ],
      });
    expect(facts(again(2))).to.include({ ready: 0, starting: 1, nextCheckMs: 28_000 });
    expect(facts(again(2)).problem?.reason).to.equal('WorkerCrashed');
    expect(facts(again(31)))
      .to.include({ ready: 1, starting: 0 })
      .and.not.have.property('nextCheckMs');
  });

  it('takes a worker for settled when it has run for a minute', () => {
    const since = (secondsAgo: number): PodView =>
      pod('p', { conditions: isReady, containerStatuses: [container({ running: { startedAt: at(secondsAgo) } })] });
    expect([...facts(since(59)).settled]).to.deep.equal([]);
    expect([...facts(since(60)).settled]).to.deep.equal(['p']);
  });

  it('shows the worst problem, of the first pod by name, in whatever order the pods come', () => {
    const crash = (name: string): PodView => failing(name, container({ terminated: { exitCode: 1 } }));
    const pull = failing('z', waiting('ErrImagePull', cause));
    expect(facts(crash('b'), pull, crash('a')).problem?.message).to.equal(pullFailure);
    expect(facts(crash('b'), crash('a')).problem?.pod).to.equal('a');
  });

  it('does not tell of pods that are on their way out', () => {
    const worker = container({ terminated: { exitCode: 137 } });
    expect(facts(pod('p', { containerStatuses: [worker] }, at(1))).problem).to.equal(undefined);
  });
});

describe('lastWords', () => {
  it('keeps as many of the last lines as fit', () => {
    const lines = Array.from({ length: 100 }, (_, index) => `line ${index} ${'x'.repeat(90)}`);
    const words = lastWords(lines.join('\n'), []);
    expect(words.length).to.be.lessThan(501);
    expect(words.endsWith(lines[99]!)).to.equal(true);
    expect(words.split(' | ')).to.have.length(4);
  });

  it('keeps the end of a single line that is too long', () => {
    expect(lastWords(`${'x'.repeat(2000)}end`, []))
      .to.have.length(500)
      .and.match(/^…x+end$/);
  });

  it('drops colours and empty lines', () => {
    expect(lastWords('\u001b[31mred\u001b[0m\n\n   \nend\n', [])).to.equal('red | end');
  });
});

describe('redact', () => {
  it('hides longer secrets before the parts that they are made of', () => {
    expect(redact('x redis://u:pass@h/0 y pass', ['pass', 'redis://u:pass@h/0'])).to.equal('x *** y ***');
  });

  it('hides credentials of any URL, known or not', () => {
    expect(redact('amqp://guest:guest@rabbit// and redis://:pw@h', [])).to.equal(
      'amqp://***@rabbit// and redis://***@h',
    );
  });

  it('does not take a text as short as a letter for a secret', () => {
    expect(redact('abc', ['a', ''])).to.equal('abc');
  });
});
