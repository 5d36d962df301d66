// What is left of a run: the numbers, the table and where to look next. Pure.
import pc from 'picocolors';
import type { Summary } from './results.ts';
import { comparisonLines, inWords } from './view.ts';

/** The outcome of a run. */
export interface Report {
  readonly kubernetes: string;
  readonly celery: string;
  readonly onePool: Summary;
  readonly twoPools: Summary;
}

/** Above this the slots did not keep up, and waits say more about how long the demo ran than about the pools. */
const MAX_DRAIN_SECONDS = 12;

/** The report as one line of JSON. */
export function jsonReport({ kubernetes, celery, onePool, twoPools }: Report): string {
  const numbers = ({ shortWaitSeconds: { p50, p99 }, tasksPerSecond }: Summary) => ({
    shortWaitSeconds: { p50: round(p50, 4), p99: round(p99, 4) },
    tasksPerSecond: round(tasksPerSecond, 2),
  });
  return JSON.stringify({
    kubernetes,
    celery,
    tasks: onePool.tasks,
    onePool: numbers(onePool),
    twoPools: numbers(twoPools),
  });
}

/** The report for people. */
export function reportLines({ kubernetes, celery, onePool, twoPools }: Report): string[] {
  const drains = [onePool, twoPools].map(({ drainSeconds }) => drainSeconds);
  const [first = 0, second = 0] = drains;
  return [
    pc.bold(`The same ${onePool.tasks} tasks, the same 4 pods with 2 slots each`),
    '',
    ...comparisonLines(onePool, twoPools),
    '',
    `  ${gainInWords(onePool, twoPools)}`,
    pc.dim(`  Waits are from sent to started, by the clock of Redis, noted by the tasks. The last task ended`),
    pc.dim(
      `  ${first.toFixed(1)} s and ${second.toFixed(1)} s after the last was sent. Kubernetes ${kubernetes}, Celery ${celery}.`,
    ),
    ...(Math.max(...drains) > MAX_DRAIN_SECONDS
      ? ['', pc.yellow('  The slots did not keep up with the load: this machine was too busy for a fair comparison.')]
      : []),
  ];
}

/** What the 99th percentile means, for who does not think in percentiles. */
function gainInWords(onePool: Summary, twoPools: Summary): string {
  const [before, after] = [onePool.shortWaitSeconds.p99, twoPools.shortWaitSeconds.p99];
  const factor = before / after;
  const gain =
    factor >= 1 ? `${factor.toFixed(factor < 9.95 ? 1 : 0)} times sooner` : `${(1 / factor).toFixed(1)} times later`;
  return `With a pool of their own 99 of 100 short tasks start within ${inWords(after)} instead of ${inWords(before)}: ${gain}.`;
}

/** How to go on: what to type, and whether it can be typed now. */
export function closingLines(look: {
  readonly stays: boolean;
  readonly namespace: string;
  readonly operator: { readonly name: string; readonly namespace: string };
  readonly before: readonly string[];
  readonly takeDown: readonly string[];
}): string[] {
  const { stays, namespace, operator, before, takeDown } = look;
  const commands: readonly (readonly [string, string])[] = [
    ...before.map((line, index) => [index === 0 ? 'this cluster' : '', line] as const),
    ['the pools', `kubectl get wp -n ${namespace}`],
    ['conditions and events of one', `kubectl describe wp long -n ${namespace}`],
    ['the routing table', `kubectl get configmap -n ${namespace} -l app.kubernetes.io/managed-by=muster -o yaml`],
    [
      'let Muster choose its size',
      `kubectl patch wp long -n ${namespace} --type=json -p '[{"op":"remove","path":"/spec/replicas"}]'`,
    ],
    [
      'send tasks again',
      `kubectl exec -n ${namespace} deployment/short -- env ROUTES_FILE=/muster/routes/routes.json python3 produce.py again 500 20 1`,
    ],
    ['what the operator did', `kubectl logs -n ${operator.namespace} deployment/${operator.name}`],
    ...takeDown.map((line, index) => [index === 0 ? 'take it down' : '', line] as const),
  ];
  const title = stays
    ? 'Everything still runs. To look further:'
    : 'To look further, let it stay (npm run demo -- --keep), and then:';
  return [pc.bold(title), '', ...commands.map(([what, command]) => `  ${pc.dim(what.padEnd(30))}${command}`)];
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
