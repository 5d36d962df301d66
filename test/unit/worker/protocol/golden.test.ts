// What every supported Celery wrote, read by us. The recordings are compared with the real thing in test/contract/worker.
import { expect } from 'chai';
import { parseControlReply, parseControlRequest, isForMe } from '../../../../worker/protocol/control.ts';
import { parseEvents } from '../../../../worker/protocol/event.ts';
import { parseBuiltinCall, parseCanvas } from '../../../../worker/protocol/canvasForms.ts';
import { parseMessage, type TaskMessage } from '../../../../worker/protocol/message.ts';
import { buildResultMeta, parseResultMeta } from '../../../../worker/protocol/result.ts';
import type { Signature } from '../../../../worker/protocol/signature.ts';
import { CeleryDate, CeleryDateTime, CeleryTime, Decimal, Uuid } from '../../../../worker/protocol/values.ts';
import { allCeleryVersions } from '../../../support/celery.ts';
import { readGolden } from '../../../support/golden.ts';
import { decodeJson } from '../../../../worker/protocol/kombuJson.ts';

const refused: Readonly<Record<string, string>> = {
  pickle: 'the content type "application/x-python-serialize" is not accepted, only application/json',
  bzip2: 'the compression "application/x-bz2" is not accepted, only gzip and brotli',
};

/** What must be read of the first message of a case, by every version. */
const wanted: Readonly<Record<string, Readonly<Partial<Record<keyof TaskMessage, unknown>>>>> = {
  plain: {
    task: 'golden.add',
    args: [2, 3],
    kwargs: {},
    argsRepr: '(2, 3)',
    priority: 0,
    routingKey: 'sent',
    retries: 0,
    protocol: 2,
  },
  kwargs: { args: [1], kwargs: { x: 1, y: 'é' } },
  send_task: { id: 'not-a-uuid', rootId: 'not-a-uuid', ignoreResult: false },
  'typed values': {
    args: [
      [
        new CeleryDateTime('2026-11-22T04:41:24.771708+00:00'),
        new CeleryDateTime('2026-11-22T04:41:24+05:30'),
        new CeleryDateTime('2026-11-22T04:41:24'),
        new CeleryDate('2026-02-28'),
        new CeleryTime('04:41:24.771708'),
        new CeleryTime('04:41:00'),
        new Decimal('1.10'),
        new Decimal('1E+3'),
        new Uuid('12345678-1234-5678-1234-567812345678'),
        Buffer.from('text'),
        Buffer.from([255, 0, 254]),
      ],
    ],
  },
  'odd numbers': { args: [[9_007_199_254_740_992n, 9_007_199_254_740_993n, -(2n ** 70n), NaN, Infinity, -Infinity]] },
  'plain values': {
    args: [[1, 1.5, 1, -0, 1e22, 'text', 'é 漢 😀', '\ud800', true, null, [], {}, { a: [1, { b: null }] }]],
  },
  eta: { etaMs: Date.UTC(2031, 4, 17, 12, 30, 15, 250) },
  'naive eta': { etaMs: Date.UTC(2031, 4, 17, 12, 30, 15, 250) },
  'expires at a time': { expiresMs: Date.UTC(2031, 4, 17, 12, 30, 15, 250) },
  'priority 5': { priority: 5 },
  'time limits': { timeLimitSeconds: 30, softTimeLimitSeconds: 20 },
  shadow: { shadow: 'golden.shown', task: 'golden.add' },
  ignore_result: { ignoreResult: true },
  argsrepr: { argsRepr: '<hidden>', kwargsRepr: '<hidden>' },
  gzip: { args: ['x'.repeat(2000)] },
  stamped: { stamps: { tenant: 'a', level: 3 } },
  'protocol 1': { protocol: 1, task: 'golden.add', args: [2, 3], kwargs: { a: 1 } },
  'protocol 1 with options': {
    protocol: 1,
    etaMs: Date.UTC(2031, 4, 17, 12, 30, 15, 250),
    expiresMs: Date.UTC(2031, 4, 17, 12, 30, 15, 250),
    timeLimitSeconds: 30,
    softTimeLimitSeconds: 20,
    retries: 2,
  },
};

function read(raw: string | undefined): TaskMessage {
  const parsed = parseMessage(raw ?? '');
  if (parsed.kind !== 'ok') throw new Error(parsed.why);
  return parsed.message;
}

for (const version of allCeleryVersions) {
  const golden = readGolden(version);
  const first = (name: string): TaskMessage => read(golden.messages[name]?.[0]);

  describe(`what Celery ${version} wrote`, () => {
    it('as messages is read, or refused with the reason', () => {
      for (const [name, raws] of Object.entries(golden.messages)) {
        expect(raws, name).to.not.be.empty;
        for (const raw of raws) {
          const parsed = parseMessage(raw);
          const why = refused[name];
          if (why === undefined) expect(parsed, name).to.have.property('kind', 'ok');
          else expect(parsed, name).to.include({ kind: 'refused', why, task: 'golden.echo' });
        }
      }
      for (const [name, { sent }] of Object.entries(golden.results)) {
        for (const raw of sent) expect(parseMessage(raw), name).to.have.property('kind', 'ok');
      }
    });

    for (const [name, want] of Object.entries(wanted)) {
      it(`as "${name}" has the right fields`, () => {
        const message = first(name);
        const got = Object.fromEntries(Object.keys(want).map((field) => [field, message[field as keyof TaskMessage]]));
        expect(got).to.deep.equal(want);
      });
    }

    it('as a chain has the rest reversed, an immutable step marked', () => {
      const { chain } = first('chain').embed;
      expect(chain.map(({ args, immutable }) => [args, immutable])).to.deep.equal([
        [[3], true],
        [[2], false],
      ]);
    });

    it('as links has callbacks and errbacks', () => {
      expect(first('two links').embed.callbacks.map(({ task }) => task)).to.deep.equal(['golden.add', 'golden.echo']);
      expect(first('link_error').embed.errbacks.map(({ task }) => task)).to.deep.equal(['golden.echo']);
      expect(first('link with options').embed.callbacks[0]?.options).to.deep.equal({
        queue: 'other',
        priority: 3,
        countdown: 5,
        expires: 60,
      });
      expect(first('protocol 1 with options').embed.callbacks[0]?.args).to.deep.equal([1]);
    });

    it('as a chord has members of a group with the body', () => {
      const parts = (golden.messages['chord'] ?? []).map(read);
      expect(parts.map(({ groupIndex }) => groupIndex)).to.deep.equal([0, 1]);
      expect(new Set(parts.map(({ groupId }) => groupId)).size).to.equal(1);
      expect(parts.map(({ embed }) => embed.chord?.task)).to.deep.equal(['golden.total', 'golden.total']);
    });

    it('as canvases in a chain can be taken apart', () => {
      const next = (name: string): Signature => {
        const [found] = first(name).embed.chain;
        if (found === undefined) throw new Error(`${name} has no chain`);
        return found;
      };
      const forms = ['chain with a group', 'chain that ends with a group', 'chain with a map'].map((name) => {
        const form = parseCanvas(next(name));
        return form.kind === 'ok' ? form.value.kind : form.why;
      });
      expect(forms).to.deep.equal(['chord', 'group', 'task']);
      const chord = parseCanvas(next('chain with a group'));
      expect(chord.kind === 'ok' && chord.value.kind === 'chord' ? chord.value.header.length : chord).to.equal(2);
    });

    it('as map, starmap and chunks can be taken apart', () => {
      const calls = ['map', 'starmap', 'chunks'].map((name) => {
        const { task, kwargs } = first(name);
        const call = parseBuiltinCall(task, kwargs);
        return call?.kind === 'ok' ? [call.value.kind, call.value.task.task, call.value.items] : call;
      });
      expect(calls).to.deep.equal([
        ['map', 'golden.add', [1, 2]],
        [
          'starmap',
          'golden.add',
          [
            [1, 2],
            [3, 4],
          ],
        ],
        // A client sends chunks as the group of starmaps that they are.
        [
          'starmap',
          'golden.add',
          [
            [1, 2],
            [3, 4],
          ],
        ],
      ]);
      const [step] = first('chain with chunks').embed.chain;
      const call = step === undefined ? undefined : parseBuiltinCall(step.task, step.kwargs);
      expect(call?.kind === 'ok' && call.value.kind === 'chunks' ? call.value.size : call).to.equal(1);
    });

    it('as results is read, and written again the same', () => {
      for (const [name, { published }] of Object.entries(golden.results)) {
        for (const [, json] of published) {
          const parsed = parseResultMeta(json);
          if (parsed.kind !== 'ok') throw new Error(`${name}: ${parsed.why}`);
          const { value } = parsed;
          const before = decodeJson(json);
          const again = decodeJson(buildResultMeta(value));
          if (before.kind !== 'ok' || again.kind !== 'ok') throw new Error(name);
          // Microseconds, which a Date does not have; 5.3 writes no offset.
          const times = { date_done: '' };
          expect({ ...(again.value as object), ...times }, name).to.deep.equal({
            ...(before.value as object),
            ...times,
          });
          expect(value.dateDoneMs === undefined, name).to.equal(
            ['STARTED', 'PROGRESS', 'RETRY'].includes(value.status),
          );
        }
      }
    });

    it('as failures has type, arguments and module', () => {
      const failure = (name: string): unknown => {
        const parsed = parseResultMeta(golden.results[name]?.published[0]?.[1] ?? '');
        return parsed.kind === 'ok' ? parsed.value.result : parsed.why;
      };
      expect(failure('failure')).to.deep.equal({
        exc_type: 'ValueError',
        exc_message: ['bad'],
        exc_module: 'builtins',
      });
      expect(failure('failure with an exception of its own')).to.deep.equal({
        exc_type: 'Bad',
        exc_message: ['two', 2],
        exc_module: 'record',
      });
      expect(failure('expired')).to.deep.equal({
        exc_type: 'TaskRevokedError',
        exc_message: ['expired'],
        exc_module: 'celery.exceptions',
      });
    });

    it('as children is a task, and a group with its members', () => {
      const parsed = parseResultMeta(golden.results['children']?.published[0]?.[1] ?? '');
      const children = parsed.kind === 'ok' ? parsed.value.children : undefined;
      expect(children?.map(([, members]) => members?.length)).to.deep.equal([undefined, 2]);
    });

    it('as events is read, batches too', () => {
      const types = new Set<string>();
      for (const [channel, raw] of golden.events) {
        const parsed = parseEvents(raw);
        if (parsed.kind !== 'ok') throw new Error(`${channel}: ${parsed.why}`);
        for (const { type } of parsed.value) types.add(type);
        if (channel.endsWith('task.multi'))
          expect(parsed.value.every(({ type }) => type.startsWith('task-'))).to.equal(true);
      }
      expect([...types]).to.include.members(['worker-online', 'worker-heartbeat', 'worker-offline']);
      expect([...types]).to.include.members(['task-received', 'task-started', 'task-succeeded', 'task-failed']);
      expect([...types]).to.include.members(['task-retried', 'task-revoked']);
    });

    it('as control requests is read, and is for whom it is meant', () => {
      const forMe = Object.entries(golden.control.requests).map(([name, raw]) => {
        const parsed = parseControlRequest(raw);
        if (parsed.kind !== 'ok') throw new Error(`${name}: ${parsed.why}`);
        const { value } = parsed;
        return [name, value.method, value.replyTo?.exchange, isForMe('worker@golden', value), isForMe('x@y', value)];
      });
      const reply = 'reply.celery.pidbox';
      expect(forMe).to.deep.equal([
        ['ping', 'ping', reply, true, true],
        ['ping to one', 'ping', reply, true, false],
        ['broadcast without reply', 'heartbeat', undefined, true, true],
        ['pattern', 'ping', undefined, true, false],
        ['revoke', 'revoke', undefined, true, true],
        ['rate_limit', 'rate_limit', undefined, true, true],
        ['add_consumer', 'add_consumer', reply, true, true],
      ]);
    });

    it('as control replies is read', () => {
      for (const [name, raw] of Object.entries(golden.control.replies)) {
        const parsed = parseControlReply(raw);
        if (parsed.kind !== 'ok') throw new Error(`${name}: ${parsed.why}`);
        expect(parsed.value, name).to.include({ hostname: 'worker@golden', ticket: 'ticket-1' });
        expect(parsed.value.clock, name).to.be.greaterThan(0);
      }
      const ping = parseControlReply(golden.control.replies['ping {}'] ?? '');
      expect(ping.kind === 'ok' ? ping.value.reply : ping.why).to.deep.equal({ ok: 'pong' });
    });
  });
}
