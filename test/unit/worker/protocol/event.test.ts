import { expect } from 'chai';
import {
  buildEvent,
  buildEventBatch,
  buildEventMessage,
  clockAdjust,
  clockForward,
  parseEvents,
  taskFailed,
  taskReceived,
  taskRejected,
  taskRetried,
  taskRevoked,
  taskStarted,
  taskSucceeded,
  workerEvent,
  type EventBody,
} from '../../../../worker/protocol/event.ts';
import { parseMessage } from '../../../../worker/protocol/message.ts';
import { allCeleryVersions } from '../../../support/celery.ts';
import { openEnvelope, readGolden } from '../../../support/golden.ts';
import { changed } from './changed.ts';

const stamp = { hostname: 'w@h', pid: 1, clock: 5, timestampMs: 1_795_322_484_771 };
const heartbeat = {
  freq: 2,
  active: 1,
  processed: 7,
  loadavg: [0.1, 0.2, 0.3],
  sw_ident: 'muster',
  sw_ver: '1',
  sw_sys: 'Linux',
};

describe('the clock', () => {
  const cases: Readonly<Record<string, { clock: number; received: unknown; want: number }>> = {
    'a clock that is ahead': { clock: 1, received: 10, want: 11 },
    'a clock that is behind': { clock: 10, received: 1, want: 11 },
    'no clock': { clock: 10, received: undefined, want: 11 },
    'a text': { clock: 10, received: '99', want: 11 },
    'a clock that is not a number': { clock: 10, received: NaN, want: 11 },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(`goes on after ${name} was received`, () => {
      expect(clockAdjust(tc.clock, tc.received)).to.equal(tc.want);
    });
  }

  it('goes on before something is sent', () => {
    expect(clockForward(4)).to.equal(5);
  });
});

describe('events', () => {
  it('that are written are read, one or many', () => {
    const event = buildEvent(taskStarted('i'), stamp);
    const one = buildEventMessage(event, 'w@h', 'tag');
    expect(one.routingKey).to.equal('task.started');
    expect(parseEvents(one.raw)).to.deep.equal({ kind: 'ok', value: [event] });
    const many = buildEventBatch([event, event], 'w@h', 'tag');
    expect(many.routingKey).to.equal('task.multi');
    expect(parseEvents(many.raw)).to.deep.equal({ kind: 'ok', value: [event, event] });
  });

  const bad: Readonly<Record<string, { raw: string; want: string }>> = {
    'no JSON': { raw: 'x', want: 'the event is not JSON: a value is missing at position 0' },
    'a list': { raw: '[]', want: 'the event is not an object' },
    'no content type': { raw: '{}', want: 'the message has no content-type' },
    'an event without a type': { raw: changed({ body: '[{}]' }), want: 'an event has no type' },
    'an event that is a number': { raw: changed({ body: '5' }), want: 'an event has no type' },
  };
  for (const [name, tc] of Object.entries(bad)) {
    it(`say what is wrong with ${name}`, () => {
      expect(parseEvents(tc.raw)).to.deep.equal({ kind: 'malformed', why: tc.want });
    });
  }

  it('of a task with an ETA that Python cannot write have none', () => {
    const parsed = parseMessage(changed({ headers: { eta: '0001-01-01T00:00:00+23:59' } }));
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    expect(taskReceived(parsed.message).fields['eta']).to.equal(null);
  });
});

/** What is in an event: its fields in order, with their types; `unsaid` may be null or a text by case. */
function shape(event: Readonly<Record<string, unknown>>): string[] {
  const unsaid = new Set(['eta', 'expires', 'parent_id', 'root_id', 'signum']);
  return Object.entries(event).map(([name, value]) => `${name}: ${unsaid.has(name) ? 'any' : typeof value}`);
}

for (const version of allCeleryVersions) {
  describe(`events of Celery ${version}`, () => {
    const golden = readGolden(version);
    const theirs = golden.events.flatMap(([channel, raw]) => {
      const parsed = parseEvents(raw);
      if (parsed.kind !== 'ok') throw new Error(parsed.why);
      return parsed.value.map((event) => ({ channel, raw, event }));
    });
    const received = parseMessage(golden.messages['plain']?.[0] ?? '');
    if (received.kind !== 'ok') throw new Error(received.why);
    const ours: readonly EventBody[] = [
      workerEvent('online', heartbeat),
      workerEvent('heartbeat', heartbeat),
      workerEvent('offline', heartbeat),
      taskReceived(received.message),
      taskStarted('i'),
      taskSucceeded('i', '5', 0.1),
      taskFailed('i', "ValueError('bad')", 'Traceback …'),
      taskRetried('i', "ValueError('bad')", 'Traceback …'),
      taskRevoked('i', { terminated: false, signum: null, expired: true }),
    ];
    for (const body of ours) {
      it(`have the fields of ours: ${body.type}`, () => {
        const found = theirs.filter(({ event }) => event.type === body.type);
        expect(found.map(({ event }) => shape(event).join())).to.include(shape(buildEvent(body, stamp)).join());
      });
    }

    it('are in the envelope of ours', () => {
      const isWorkers = ({ event }: (typeof theirs)[number]): boolean => event.type === 'worker-heartbeat';
      const [raw] = theirs.filter(isWorkers).map((item) => item.raw);
      const tag = 'tag';
      const mine = openEnvelope(
        buildEventMessage(buildEvent(workerEvent('heartbeat', heartbeat), stamp), 'worker@golden', tag).raw,
      );
      const { body: _, ...rest } = openEnvelope(raw ?? '') as Record<string, Record<string, unknown>>;
      const wanted = { ...rest, properties: { ...rest['properties'], delivery_tag: tag } };
      const { body: __, ...got } = mine;
      expect(got).to.deep.equal(wanted);
      const [batch] = theirs.filter(({ channel }) => channel.endsWith('task.multi')).map((item) => item.raw);
      const { headers, properties } = openEnvelope(batch ?? '') as Record<string, Record<string, unknown>>;
      const own = openEnvelope(buildEventBatch([], 'worker@golden', tag).raw);
      expect(own).to.deep.include({ headers, properties: { ...properties, delivery_tag: tag } });
    });
  });
}

describe('task-rejected', () => {
  it('says whether the message goes back', () => {
    expect(taskRejected('i', true)).to.deep.equal({ type: 'task-rejected', fields: { uuid: 'i', requeue: true } });
  });
});
