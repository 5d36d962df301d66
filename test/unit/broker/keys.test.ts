import { expect } from 'chai';
import { bindingKey, heartbeatPattern, queueKeys, unackedKey } from '../../../operator/broker/keys.ts';
import { heartbeatChannel } from './kombuBytes.ts';

const plain = { prioritySteps: [0, 3, 6, 9], redis: { db: 0 } };
const prefixed = { ...plain, keyPrefix: 'team:', redis: { db: 3 } };

describe('keys', () => {
  it('has a list for every priority step, the bare name for 0', () => {
    expect(queueKeys(plain, 'celery')).to.deep.equal([
      'celery',
      'celery\x06\x163',
      'celery\x06\x166',
      'celery\x06\x169',
    ]);
  });

  it('reads the bare name whatever the steps are', () => {
    expect(queueKeys({ ...plain, prioritySteps: [1, 5] }, 'q')).to.deep.equal(['q', 'q\x06\x161', 'q\x06\x165']);
    expect(queueKeys({ ...plain, prioritySteps: [] }, 'q')).to.deep.equal(['q']);
  });

  it('puts the prefix before every key', () => {
    expect(queueKeys({ ...prefixed, prioritySteps: [0, 9] }, 'q')).to.deep.equal(['team:q', 'team:q\x06\x169']);
    expect(unackedKey(prefixed)).to.equal('team:unacked');
    expect(bindingKey(prefixed, 'orders')).to.equal('team:_kombu.binding.orders');
  });

  it('listens on the channel of which a real worker was heard', () => {
    const pattern = heartbeatPattern(prefixed);
    expect(pattern).to.equal('team:/3.celeryev/worker.*');
    expect(heartbeatChannel.startsWith(pattern.slice(0, -1))).to.equal(true);
  });

  it('takes a prefix with the signs of a pattern by its letters', () => {
    expect(heartbeatPattern({ ...plain, keyPrefix: 'a*[b]?\\' })).to.equal('a\\*\\[b\\]\\?\\\\/0.celeryev/worker.*');
  });
});
