/** What a client sends for a canvas is what Celery's client sends: compared with its recorded messages. */
import { expect } from 'chai';
import { apply, emptyPlan, type Plan } from '../../../../worker/canvas/apply.ts';
import {
  chain,
  chord,
  chunks,
  group,
  linkError,
  map,
  sig,
  signatureOptions,
  stamp,
  starmap,
} from '../../../../worker/canvas/builders.ts';
import { brokerKeys, resultKeys } from '../../../../worker/protocol/keys.ts';
import type { Signature } from '../../../../worker/protocol/signature.ts';
import { findDrift, normalise, openEnvelope, readGolden } from '../../../support/golden.ts';

const add = (...args: unknown[]): Signature => sig('golden.add', args);
const total = sig('golden.total');
const echo = sig('golden.echo');

/** A uuid per number, so that a failure can be read. */
function planOf(signature: Signature, options: Readonly<Record<string, unknown>> = {}): Plan {
  let count = 0;
  const newId = (): string => `00000000-0000-4000-8000-${String((count += 1)).padStart(12, '0')}`;
  const plan = emptyPlan();
  apply(
    signature,
    { options },
    {
      ids: { newId, replyTo: newId() },
      routing: { keys: brokerKeys({}), queueOf: () => 'sent', origin: 'gen1@golden' },
      resultKeys: resultKeys(),
      keepSeconds: 86_400,
      nowMs: Date.UTC(2026, 10, 22, 4, 41),
      ...{ rootId: undefined, parentId: undefined },
    },
    plan,
  );
  return plan;
}

/** The canvases of test/golden/celery/record.py that the builders can say, by the sentence of their case. */
const cases: Readonly<Record<string, () => Plan>> = {
  link: () => planOf(add(1), { link: [add(10)] }),
  'two links': () => planOf(add(1), { link: [add(10), sig('golden.echo', ['done'], { immutable: true })] }),
  link_error: () => planOf(add(1), { link_error: [echo] }),
  chain: () => planOf(chain(add(1), add(2), sig('golden.add', [3], { immutable: true }))),
  'chain with errback': () => planOf(chain(add(1), add(2)), { link_error: [echo] }),
  group: () => planOf(group([add(1), add(2)])),
  chord: () => planOf(chord([add(1), add(2)], total)),
  'chain that ends with a group': () => planOf(chain(add(1), group([add(2), add(3)]))),
  'chord in a chain': () => planOf(chain(chord([add(1), add(2)], total), add(5))),
  'chain of chains in a group': () => planOf(group([chain(add(1), add(2)), chain(add(3), add(4))])),
  map: () => planOf(map('golden.add', [1, 2])),
  starmap: () =>
    planOf(
      starmap('golden.add', [
        [1, 2],
        [3, 4],
      ]),
    ),
  chunks: () =>
    planOf(
      chunks(
        'golden.add',
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        2,
      ),
    ),
  'chain with a map': () => planOf(chain(add(1), map('golden.add', [1, 2]))),
  stamped: () => planOf(stamp(add(1), { tenant: 'a', level: 3 })),
  'stamped chain': () => planOf(stamp(chain(add(1), add(2)), { tenant: 'a', level: 3 })),
};

/**
 * What means the same: Python's tuples in texts for people, the order of a set, and options that are null or not there.
 * ("chain with a group" is left out: Celery wraps a header within a chain in a group, ours is a list as it is elsewhere.)
 */
function essence(messages: unknown): unknown {
  const text = JSON.stringify(messages, (name, value: unknown) => {
    if (name === 'kwargsrepr') return undefined;
    if (name === 'stamped_headers' && Array.isArray(value)) return [...(value as string[])].sort();
    return (name === 'root_id' || name === 'parent_id') && value === null ? undefined : value;
  });
  return JSON.parse(text) as unknown;
}

describe('messages of a canvas', () => {
  const golden = readGolden('5.7.0').messages;

  for (const [name, make] of Object.entries(cases)) {
    it(`of Celery's client and ours are the same: ${name}`, () => {
      const recorded = essence(normalise((golden[name] ?? []).map(openEnvelope)));
      expect(recorded).to.be.an('array').that.is.not.empty;
      const written = essence(normalise(make().messages.map(({ raw }) => openEnvelope(raw))));
      expect(findDrift(written, recorded)).to.deep.equal([]);
    });
  }

  it('say first how many parts a chord has, and that nobody has claimed its body', () => {
    const { commands, messages } = planOf(chord([add(1), chain(add(2), add(3)), group([add(4), add(5)])], total));
    const group_ = '00000000-0000-4000-8000-000000000002';
    const [[, , ...told] = []] = commands;
    const key = `celery-taskset-meta-${group_}`;
    expect(commands).to.have.length(1);
    expect(told).to.deep.equal([3, `${key}.c`, `${key}.s`, key, 4, 86_400, '']);
    expect(messages).to.have.length(4);
  });

  it('carry a task’s errback on every task of a group, and a chord’s on its body', () => {
    const errbacksOf = (plan: Plan): unknown[] =>
      plan.messages.map(({ raw }) => {
        const [, , embed] = openEnvelope(raw)['body'] as [
          unknown,
          unknown,
          { errbacks: unknown; chord: Signature | null },
        ];
        return embed.errbacks ?? embed.chord?.options['link_error'] ?? null;
      });
    const every = errbacksOf(planOf(linkError(group([add(1), add(2)]), echo)));
    expect(every).to.have.length(2);
    for (const errbacks of every) expect(errbacks).to.have.nested.property('[0].task', 'golden.echo');
    for (const errbacks of errbacksOf(planOf(linkError(chord([add(1), add(2)], total), echo))))
      expect(errbacks).to.have.nested.property('[0].task', 'golden.echo');
  });

  it('refuse what contradicts itself', () => {
    expect(() => signatureOptions({ eta: new Date(), countdownSeconds: 1 })).to.throw(
      TypeError,
      'eta or countdownSeconds',
    );
    expect(() => signatureOptions({ expires: new Date(), expiresSeconds: 1 })).to.throw(TypeError, 'not both');
    expect(() => chunks('golden.add', [[1]], 0)).to.throw(TypeError, 'the size of chunks is 0');
  });
});
