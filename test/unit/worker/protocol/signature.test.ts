import { expect } from 'chai';
import {
  chainSignature,
  chordSignature,
  chunksSignature,
  groupSignature,
  mapSignature,
  parseBuiltinCall,
  parseCanvas,
  taskSignature,
} from '../../../../worker/protocol/canvasForms.ts';
import { buildMessage } from '../../../../worker/protocol/message.ts';
import {
  addLink,
  freezeSignature,
  mergeSignature,
  parseSignature,
  popChain,
  readLinks,
  setOptions,
  signatureId,
  type Signature,
  type SignatureCall,
} from '../../../../worker/protocol/signature.ts';
import { taskOfSignature, type SendingContext } from '../../../../worker/protocol/signatureMessage.ts';
import { allCeleryVersions } from '../../../support/celery.ts';
import { openEnvelope, readGolden } from '../../../support/golden.ts';

const add = (...args: readonly unknown[]): Signature => taskSignature('golden.add', { args });

describe('parseSignature', () => {
  const bad: Readonly<Record<string, { value: unknown; want: string }>> = {
    null: { value: null, want: 'the signature is not an object' },
    'a list': { value: [], want: 'the signature is not an object' },
    'no task': { value: {}, want: 'the signature names no task' },
    'an empty task': { value: { task: '' }, want: 'the signature names no task' },
    'args that are a text': { value: { task: 'a', args: 'x' }, want: 'the signature has args that are no list' },
    'kwargs that are a list': { value: { task: 'a', kwargs: [] }, want: 'the signature has kwargs that are no object' },
    'options that are a text': {
      value: { task: 'a', options: 'x' },
      want: 'the signature has options that are no object',
    },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`refuses ${name}`, () => {
      expect(parseSignature(tc.value)).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }

  it('keeps what it does not know, and fills in what is not there', () => {
    expect(parseSignature({ task: 'a', chord_size: 3, args: null })).to.deep.equal({
      kind: 'ok',
      value: { task: 'a', chord_size: 3, args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false },
    });
  });
});

describe('mergeSignature', () => {
  const base = taskSignature('t', { args: [2], kwargs: { a: 1 }, options: { queue: 'q', group_id: 'g' } });
  const stamped = setOptions(base, { stamped_headers: ['tenant'], tenant: 'a' });
  const cases: Readonly<Record<string, { signature?: Signature; call: SignatureCall; want: Partial<Signature> }>> = {
    'arguments in front': { call: { args: [1] }, want: { args: [1, 2] } },
    'no arguments': { call: { args: [] }, want: { args: [2] } },
    'keyword arguments that win': { call: { kwargs: { a: 2, b: 3 } }, want: { kwargs: { a: 2, b: 3 } } },
    'no arguments into an immutable one': {
      signature: { ...base, immutable: true },
      call: { args: [1], kwargs: { a: 2 }, options: { queue: 'r' } },
      want: { args: [2], kwargs: { a: 1 }, options: { queue: 'r', group_id: 'g' } },
    },
    'options that win': {
      call: { options: { queue: 'r', priority: 3 } },
      want: { options: { queue: 'r', priority: 3, group_id: 'g' } },
    },
    'options of null, which say nothing': {
      call: { options: { queue: null, root_id: undefined } },
      want: { options: { queue: 'q', group_id: 'g' } },
    },
    'no other group': { call: { options: { group_id: 'h' } }, want: { options: { queue: 'q', group_id: 'g' } } },
    'a group where there is none': {
      signature: taskSignature('t'),
      call: { options: { group_id: 'h' } },
      want: { options: { group_id: 'h' } },
    },
    'no other stamps': {
      signature: stamped,
      call: { options: { stamped_headers: ['x'], tenant: 'b', x: 1 } },
      want: { options: { queue: 'q', group_id: 'g', stamped_headers: ['tenant'], tenant: 'a', x: 1 } },
    },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`takes ${name}`, () => {
      const before = JSON.stringify(tc.signature ?? base);
      expect(mergeSignature(tc.signature ?? base, tc.call)).to.deep.include(tc.want);
      expect(JSON.stringify(tc.signature ?? base), 'the original').to.equal(before);
    });
  }
});

describe('freezeSignature', () => {
  const identity = {
    taskId: 'id',
    rootId: 'root',
    parentId: 'parent',
    groupId: 'g',
    groupIndex: 1,
    replyTo: 'r',
    chord: add(),
  };

  it('gives a signature its ids', () => {
    expect(freezeSignature(add(1), identity).options).to.deep.equal({
      task_id: 'id',
      root_id: 'root',
      parent_id: 'parent',
      reply_to: 'r',
      group_id: 'g',
      group_index: 1,
      chord: add(),
    });
  });

  it('leaves the id, the group and the address that it has', () => {
    const has = taskSignature('t', { options: { task_id: 'own', group_id: 'h', reply_to: 's' } });
    const frozen = freezeSignature(has, identity);
    expect(frozen.options).to.include({ task_id: 'own', group_id: 'h', reply_to: 's', root_id: 'root' });
    expect(signatureId(frozen)).to.equal('own');
  });
});

describe('links', () => {
  it('are added once each, to a list or to a single one', () => {
    const single = taskSignature('t', { options: { link: add(1) } });
    const twice = addLink(addLink(single, 'link', add(2)), 'link', add(1));
    expect(readLinks(twice, 'link').map(({ args }) => args)).to.deep.equal([[1], [2]]);
    expect(readLinks(single, 'link_error')).to.deep.equal([]);
  });
});

describe('a chain', () => {
  it('is taken from its end', () => {
    expect(popChain([add(3), add(2)])).to.deep.equal({ next: add(2), rest: [add(3)] });
    expect(popChain([])).to.equal(undefined);
  });
});

describe('canvases', () => {
  it('that are made can be taken apart', () => {
    const parts = [add(1), add(2)];
    expect(parseCanvas(add(1))).to.deep.equal({ kind: 'ok', value: { kind: 'task' } });
    expect(parseCanvas(chainSignature(parts))).to.deep.equal({ kind: 'ok', value: { kind: 'chain', tasks: parts } });
    expect(parseCanvas(groupSignature(parts))).to.deep.equal({ kind: 'ok', value: { kind: 'group', tasks: parts } });
    const chord = { kind: 'ok', value: { kind: 'chord', header: parts, body: add(3) } };
    expect(parseCanvas(chordSignature(parts, add(3)))).to.deep.equal(chord);
    const inGroup = { ...chordSignature(parts, add(3)), kwargs: { header: groupSignature(parts), body: add(3) } };
    expect(parseCanvas(inGroup)).to.deep.equal(chord);
    const map = mapSignature('map', add(), [1]);
    expect(parseBuiltinCall(map.task, map.kwargs)).to.deep.equal({
      kind: 'ok',
      value: { kind: 'map', task: add(), items: [1] },
    });
    const chunks = chunksSignature(add(), [1, 2], 1);
    const wantChunks = { kind: 'chunks', task: add(), items: [1, 2], size: 1 };
    expect(parseBuiltinCall(chunks.task, chunks.kwargs)).to.deep.equal({ kind: 'ok', value: wantChunks });
    expect(parseBuiltinCall('golden.add', {})).to.equal(undefined);
  });

  const bad: Readonly<Record<string, { signature: Signature; want: string }>> = {
    'an unknown type': {
      signature: { ...add(), subtask_type: 'ring' },
      want: 'the signature has the unknown type "ring"',
    },
    'a group without tasks': {
      signature: { ...groupSignature([]), kwargs: {} },
      want: "the group's tasks are not a list",
    },
    'a chain with a text': {
      signature: { ...chainSignature([]), kwargs: { tasks: ['x'] } },
      want: "the chain's tasks[0] is not an object",
    },
    'a chord without a body': {
      signature: { ...add(), subtask_type: 'chord', kwargs: { header: [] } },
      want: "the chord's body is not an object",
    },
    'a chord without a header': {
      signature: { ...add(), subtask_type: 'chord', kwargs: { body: add() } },
      want: "the chord's header is not an object",
    },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`refuse ${name}`, () => {
      expect(parseCanvas(tc.signature)).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }

  it('refuse chunks of no size, and a map without items', () => {
    const chunks = parseBuiltinCall('celery.chunks', { task: add(), it: [], n: 0 });
    expect(chunks).to.deep.equal({ kind: 'malformed', why: 'the size of celery.chunks is not a whole number from 1' });
    const map = parseBuiltinCall('celery.map', { task: add() });
    expect(map).to.deep.equal({ kind: 'malformed', why: 'the items of celery.map are not a list' });
  });
});

const context: SendingContext = { nowMs: 1_000_000, id: 'new-id', tag: 'tag', defaultQueue: 'celery', origin: 'w@h' };

describe('taskOfSignature', () => {
  const cases: Readonly<Record<string, { options: Record<string, unknown>; want: Record<string, unknown> }>> = {
    'an id of its own': { options: { task_id: 'own' }, want: { id: 'own' } },
    'no id': { options: {}, want: { id: 'new-id', origin: 'w@h', routingKey: 'celery', exchange: '' } },
    'a countdown': { options: { countdown: 1.5 }, want: { eta: 1_001_500 } },
    'a countdown of 0, which is none': { options: { countdown: 0 }, want: { eta: undefined } },
    'a negative countdown': { options: { countdown: -5 }, want: { eta: 995_000 } },
    'an eta with microseconds': {
      options: { eta: '2031-01-01T00:00:00.123456+00:00' },
      want: { eta: '2031-01-01T00:00:00.123456+00:00' },
    },
    'an eta that is a Date': { options: { eta: new Date(5) }, want: { eta: 5 } },
    'expires in seconds': { options: { expires: 10 }, want: { expires: 1_010_000, expirationMs: 10_000 } },
    'expires in the past': { options: { expires: -10 }, want: { expires: 990_000, expirationMs: 0 } },
    'a queue': { options: { queue: 'q', exchange: 'e', routing_key: 'r' }, want: { exchange: '', routingKey: 'q' } },
    'a queue as an object': { options: { queue: { name: 'q' } }, want: { routingKey: 'q' } },
    'an exchange and a key': { options: { exchange: 'e', routing_key: 'r' }, want: { exchange: 'e', routingKey: 'r' } },
    'the anonymous exchange': { options: { exchange: '', routing_key: 'r' }, want: { exchange: '', routingKey: 'r' } },
    'ids of null': { options: { root_id: null, parent_id: null }, want: { rootId: undefined, parentId: undefined } },
    stamps: {
      options: { stamped_headers: ['a', 'b'], a: 1 },
      want: { stampedHeaders: ['a', 'b'], stamps: { a: 1, b: null }, properties: {} },
    },
    'an unknown option, which becomes a property': { options: { app_id: 'x' }, want: { properties: { app_id: 'x' } } },
    'options for the Python client': {
      options: { retry: true, serializer: 'json', producer: 1 },
      want: { properties: {} },
    },
    'a single callback': { options: { link: add(1) }, want: { callbacks: [add(1)] } },
    'a chain and a chord': { options: { chain: [add(2)], chord: add(3) }, want: { chain: [add(2)], chord: add(3) } },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`sends ${name}`, () => {
      const parsed = taskOfSignature(taskSignature('t', { options: tc.options }), context);
      if (parsed.kind !== 'ok') throw new Error(parsed.why);
      expect(parsed.value).to.deep.include(tc.want);
    });
  }

  const bad: Readonly<Record<string, { options: Record<string, unknown>; want: string }>> = {
    'an eta that is a word': {
      options: { eta: 'x' },
      want: "the signature's eta or countdown is not an ISO 8601 time",
    },
    'a countdown without end': {
      options: { countdown: Infinity },
      want: "the signature's eta or countdown is not a number of seconds",
    },
    'a countdown that is a text': {
      options: { countdown: '5' },
      want: "the signature's eta or countdown is not a number of seconds",
    },
    'expires that is NaN': { options: { expires: NaN }, want: "the signature's expires is not a number of seconds" },
    'a queue that is a number': { options: { queue: 5 }, want: "the signature's queue is not a text" },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`refuses ${name}`, () => {
      const parsed = taskOfSignature(taskSignature('t', { options: tc.options }), context);
      expect(parsed).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }
});

for (const version of allCeleryVersions) {
  describe(`what a worker of Celery ${version} sends after a task`, () => {
    const golden = readGolden(version);
    const caught = (signature: Signature): Signature => setOptions(signature, { queue: 'caught' });
    const stamps = { stamped_headers: ['level', 'tenant'], level: 3, tenant: 'a' };
    const cases: Readonly<Record<string, { signature: Signature; result: unknown }>> = {
      callback: { signature: caught(add(10)), result: 5 },
      'immutable callback': { signature: caught({ ...add(10), immutable: true }), result: 5 },
      chain: { signature: setOptions(caught(add(2)), { chain: [] }), result: 1 },
      'stamped chain': { signature: setOptions(caught(add(2)), stamps), result: 1 },
    };
    for (const [name, tc] of Object.entries(cases)) {
      it(`is what we send: ${name}`, () => {
        const theirs = openEnvelope(golden.results[name]?.sent[0] ?? '') as Record<string, Record<string, unknown>>;
        const headers = theirs['headers'] ?? {};
        const merged = mergeSignature(tc.signature, {
          args: [tc.result],
          options: {
            task_id: headers['id'],
            root_id: headers['root_id'],
            parent_id: headers['parent_id'],
            group_id: headers['group'],
            group_index: headers['group_index'],
            reply_to: theirs['properties']?.['reply_to'],
            // The rest of the chain is the caller's business.
            chain: (theirs['body'] as unknown as { chain: unknown }[])[2]?.chain,
          },
        });
        const tag = String(theirs['properties']?.['delivery_tag']);
        const task = taskOfSignature(merged, { ...context, tag, origin: String(headers['origin']) });
        if (task.kind !== 'ok') throw new Error(task.why);
        const ours = openEnvelope(buildMessage(task.value).raw) as Record<string, Record<string, unknown>>;
        // An empty rest of a chain: Celery writes [] or null by version.
        const withoutChain = (body: unknown): unknown =>
          JSON.parse(JSON.stringify(body).replace('"chain":[]', '"chain":null'));
        expect({ ...ours, body: withoutChain(ours['body']) }).to.deep.equal({
          ...theirs,
          body: withoutChain(theirs['body']),
        });
      });
    }
  });
}
