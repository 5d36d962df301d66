/** Numbered tasks: sent in bulk, and counted by the lines that they leave (nodeapps/tasks.ts, pyapps/numbered.py). */
import type { Redis } from 'ioredis';
import { randomUUID } from 'node:crypto';
import { buildMessage } from '../../worker/protocol/message.ts';
import type { Gate } from './celery.ts';

/** Sends tasks with the numbers from 0 to `count` (exclusive), each `ms` long, to the queue `work`. */
export async function sendNumbered(client: Redis, count: number, ms: number): Promise<void> {
  for (let first = 0; first < count; first += 500) {
    const numbers = Array.from({ length: Math.min(500, count - first) }, (_, place) => first + place);
    await client.lpush('work', ...numbers.map((number) => numberedMessage(number, ms)));
  }
}

/** One message. */
export function numberedMessage(number: number, ms: number): string {
  const ids = { id: randomUUID(), tag: randomUUID() };
  return buildMessage({ ...ids, task: 'node.numbered', args: [number, ms], ignoreResult: true, routingKey: 'work' })
    .raw;
}

/** The numbers of the messages that are not acknowledged now. */
export async function unackedNumbers(client: Redis): Promise<Set<number>> {
  const values = await client.hvals('unacked');
  return new Set(values.flatMap((value) => numberOf(value) ?? []));
}

function numberOf(value: string): number | undefined {
  const [message] = JSON.parse(value) as [{ body: string }];
  const [args] = JSON.parse(Buffer.from(message.body, 'base64').toString()) as [[number]];
  return args[0];
}

/** How often each number began, and which have ended. */
export interface Tally {
  readonly begun: ReadonlyMap<number, number>;
  readonly ended: ReadonlySet<number>;
  /** Numbers that began more than once. */
  readonly twice: readonly number[];
  /** Process ids by how many runs began there. */
  readonly byProcess: ReadonlyMap<string, number>;
  /** The process in which each number began last. */
  readonly ranIn: ReadonlyMap<number, string>;
}

/** Reads what the tasks left. */
export async function tally(gate: Gate): Promise<Tally> {
  const begun = new Map<number, number>();
  const byProcess = new Map<string, number>();
  const ranIn = new Map<number, string>();
  for (const line of await gate.started()) {
    const [number = '', pid = ''] = line.split(' ');
    begun.set(Number(number), (begun.get(Number(number)) ?? 0) + 1);
    byProcess.set(pid, (byProcess.get(pid) ?? 0) + 1);
    ranIn.set(Number(number), pid);
  }
  const ended = new Set((await gate.ended()).map(Number));
  const twice = [...begun].filter(([, times]) => times > 1).map(([number]) => number);
  return { begun, ended, twice, byProcess, ranIn };
}
