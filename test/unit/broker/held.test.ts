import { expect } from 'chai';
import fc from 'fast-check';
import { parseBindings, resolveQueues } from '../../../operator/broker/bindings.ts';
import { parseTail } from '../../../operator/broker/tail.ts';
import { bindingSets, pythonJson, unackedEntries } from './kombuBytes.ts';

describe('parseTail', () => {
  it('reads the addresses of what kombu wrote', () => {
    const routes = unackedEntries.map(([, value]) => parseTail(value));
    expect(routes).to.deep.equal([
      { exchange: '', routingKey: 'celery' },
      { exchange: '', routingKey: 'weiß "ü\\' },
      { exchange: 'events', routingKey: 'shop.order.paid' },
      { exchange: 'orders', routingKey: 'slow' },
      { exchange: '', routingKey: 'celery' },
    ]);
  });

  it('reads any address behind any message, with and without the spaces of Python', () => {
    const name = fc.string({ maxLength: 40, unit: 'binary' });
    fc.assert(
      fc.property(name, name, fc.string(), (exchange, routingKey, body) => {
        const entry = [{ body, headers: { a: ['", "x", "y"]'] } }, exchange, routingKey];
        expect(parseTail(pythonJson(entry))).to.deep.equal({ exchange, routingKey });
        expect(parseTail(JSON.stringify(entry))).to.deep.equal({ exchange, routingKey });
      }),
    );
  });

  const strange: Record<string, string> = {
    'no JSON': 'hello',
    'an object': '{"a": "b", "c": "d"}',
    'one name': '["a"]',
    'no names': '[{}, null, null]',
    'a name cut off at its front': `[{}, "", "${'x'.repeat(2000)}"]`,
  };
  for (const [what, entry] of Object.entries(strange)) {
    it(`does not pretend to understand ${what}`, () => expect(parseTail(entry)).to.equal(undefined));
  }
});

describe('resolveQueues', () => {
  const of = (exchange: string): ReturnType<typeof parseBindings> => parseBindings(bindingSets[exchange] ?? []);
  const cases: Record<string, { exchange: string; routingKey: string; want: string[] }> = {
    'the default exchange names the queue itself': { exchange: '', routingKey: 'reports', want: ['reports'] },
    'a direct exchange by its binding': { exchange: 'orders', routingKey: 'slow', want: ['orders-slow'] },
    'a topic exchange by every pattern that matches': {
      exchange: 'events',
      routingKey: 'shop.order.paid',
      want: ['audit', 'mail'],
    },
    'a topic exchange by one pattern': { exchange: 'events', routingKey: 'shop.order.sent', want: ['audit'] },
    'a binding that is gone: the routing key is the queue, as Celery names them': {
      exchange: 'gone',
      routingKey: 'celery',
      want: ['celery'],
    },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(name, () => expect(resolveQueues(tc, of(tc.exchange))).to.deep.equal(tc.want));
  }

  it('understands the escapes of Python in a topic pattern', () => {
    const bindings = parseBindings(['new-shop_1.*\x06\x16^new\\-shop\\_1\\.[^\\.]+$\x06\x16q']);
    expect(resolveQueues({ exchange: 'e', routingKey: 'new-shop_1.x' }, bindings)).to.deep.equal(['q']);
  });

  it('leaves out what is no binding', () => {
    expect(parseBindings(['nonsense', 'a\x06\x16\x06\x16q'])).to.deep.equal([
      { routingKey: 'a', pattern: '', queue: 'q' },
    ]);
    const broken = parseBindings(['a\x06\x16([\x06\x16q']);
    expect(resolveQueues({ exchange: 'e', routingKey: 'b' }, broken)).to.deep.equal(['b']);
  });
});
