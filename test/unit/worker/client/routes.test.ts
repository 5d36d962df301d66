/** The queue of a task, found as Celery's MapRoute finds it. */
import { expect } from 'chai';
import { createRouter } from '../../../../worker/client/routes.ts';

describe('createRouter', () => {
  const table = {
    'reports.*': { queue: 'reports' },
    'reports.urgent': { queue: 'urgent' },
    '*.thumb?[!0]*': { queue: 'thumbs' },
    'plain.dot': { queue: 'dots' },
  };
  const cases = {
    'a name that is a key wins over a pattern before it': { task: 'reports.urgent', want: 'urgent' },
    'a pattern matches what begins so': { task: 'reports.a.b', want: 'reports' },
    'sets and single characters are those of fnmatch': { task: 'images.thumbs1', want: 'thumbs' },
    'a negated set refuses its members': { task: 'images.thumbs0', want: undefined },
    'a dot of a key is a dot': { task: 'plainxdot', want: undefined },
    'a pattern must match the whole name': { task: 'my.reports.a', want: undefined },
  };
  for (const [name, tc] of Object.entries(cases)) {
    it(name, () => expect(createRouter(table)(tc.task)).to.equal(tc.want));
  }
  it('refuses an entry without a queue, and names it', () => {
    expect(() => createRouter({ 'a.*': { queue: '' } })).to.throw(TypeError, 'the route of a.* names no queue');
  });
});
