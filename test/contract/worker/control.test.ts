/** Remote control of the Node worker by Celery's own client code. */
import { expect } from 'chai';
import { task } from '../../../worker/task/define.ts';
import type { Worker } from '../../../worker/worker.ts';
import { askedVersions, ensureCelery } from '../../support/celery.ts';
import { startCeleryClient, type CeleryClient } from '../../support/celeryClient.ts';
import { eventually } from '../../support/eventually.ts';
import { makeGates, startNodeWorker, type Gates } from '../../support/inProcessWorker.ts';
import { startRedis, type RedisServer } from '../../support/redisServer.ts';

const node = 'n1@here';

for (const version of askedVersions) {
  describe(`remote control of the Node worker by Celery ${version}`, function () {
    this.timeout(60_000);
    let redis: RedisServer;
    let client: CeleryClient;
    let gates: Gates;
    const workers = new Set<Worker>();

    const start = (...flags: string[]): Worker => {
      const add = task('sum', {}, (_ctx, a: number, b: number) => a + b);
      const defaults = ['--queues', 'work', '--hostname', node, '--concurrency', '2'];
      const worker = startNodeWorker(`${redis.url}/0`, [...gates.tasks, add], [...defaults, ...flags]);
      workers.add(worker);
      return worker;
    };
    const stop = async (worker: Worker): Promise<void> => {
      workers.delete(worker);
      await worker.stop(AbortSignal.timeout(1_000));
    };
    const isHeard = (name = node): Promise<unknown> =>
      eventually(async () => name in (await client.control('ping', {}, { destination: [name], timeout: 0.3 })), {
        timeoutMs: 20_000,
      });
    const ask = async (command: string, args: Record<string, unknown> = {}): Promise<unknown> =>
      (await client.control(command, args, { destination: [node] }))[node];
    const sendGated = (name: string, options: Record<string, unknown> = {}): Promise<string> =>
      client.send('gate.wait', [name], { queue: 'work', ...options });
    const hasStarted = (...names: string[]): Promise<unknown> =>
      eventually(() => names.every((name) => gates.started.includes(name)));
    const stateOf = async (id: string): Promise<string> => (await client.result(id)).state;

    before(async function () {
      this.timeout(180_000);
      redis = await startRedis();
      client = await startCeleryClient(await ensureCelery(version), `${redis.url}/0`);
    });
    beforeEach(async () => {
      gates = makeGates();
      await redis.command('FLUSHALL');
    });
    afterEach(async () => {
      gates.openAll();
      await Promise.all([...workers].map(stop));
    });
    after(async () => {
      await client.close();
      await redis.stop();
    });

    it('answers ping, and only whoever is meant', async () => {
      start();
      start('--hostname', 'n2@there');
      await isHeard();
      await isHeard('n2@there');
      const pong = { ok: 'pong' };
      expect(await client.control('ping', {}, { limit: 2 })).to.deep.equal({ [node]: pong, 'n2@there': pong });
      expect(await client.control('ping', {}, { destination: [node] })).to.deep.equal({ [node]: pong });
      const [glob, pcre] = [{ matcher: 'glob' }, { matcher: 'pcre' }] as const;
      expect(await client.control('ping', {}, { pattern: '*@there', ...glob })).to.deep.equal({ 'n2@there': pong });
      expect(await client.control('ping', {}, { pattern: 'n[1]@', ...pcre })).to.deep.equal({ [node]: pong });
      expect(await client.control('ping', {}, { pattern: 'x*', ...glob, timeout: 0.3 })).to.deep.equal({});
    });

    it('answers a command that does not exist, or lacks an argument, as Celery does', async () => {
      start();
      await isHeard();
      expect(await ask('nope')).to.deep.equal({ error: "KeyError('nope')" });
      expect(await ask('toString')).to.deep.equal({ error: "KeyError('toString')" });
      expect(await ask('revoke'))
        .to.have.property('error')
        .that.match(/^TypeError\(/);
      expect(await ask('rate_limit', { task_name: 'none', rate_limit: '1/s' })).to.deep.equal({
        error: 'unknown task',
      });
      expect(await ask('rate_limit', { task_name: 'sum', rate_limit: '1/y' }))
        .to.have.property('error')
        .that.contains('Invalid rate limit');
    });

    it('shows the tasks that run, wait and are scheduled', async () => {
      start('--prefetch', '2', '--ack', 'late');
      await isHeard();
      const ids = [await sendGated('a'), await sendGated('b', { priority: 3 })];
      await hasStarted('a', 'b');
      ids.push(await sendGated('c'));
      const later = await sendGated('later', { countdown: 600 });
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 1);
      await eventually(async () => ((await ask('scheduled')) as unknown[]).length === 1);
      const active = (await ask('active')) as Record<string, unknown>[];
      expect(active.map(({ id }) => id)).to.have.members(ids.slice(0, 2));
      const first = active.find(({ id }) => id === ids[0]);
      expect(first).to.deep.include({
        name: 'gate.wait',
        args: ['a'],
        kwargs: {},
        hostname: node,
        acknowledged: false,
      });
      expect(first).to.have.nested.property('delivery_info.routing_key', 'work');
      expect(first?.['time_start']).to.be.closeTo(Date.now() / 1000, 30);
      expect(await ask('active', { safe: true }))
        .to.have.nested.property('[0].args')
        .that.matches(/^\['[ab]'\]$/);
      const reserved = (await ask('reserved')) as Record<string, unknown>[];
      expect(reserved.map(({ id }) => id)).to.deep.equal([ids[2]]);
      const scheduled = (await ask('scheduled')) as { eta: string; request: { id: string } }[];
      expect(scheduled.map(({ request }) => request.id)).to.deep.equal([later]);
      expect(Date.parse(scheduled[0]?.eta ?? '')).to.be.closeTo(Date.now() + 600_000, 30_000);
      const found = (await ask('query_task', { ids: [ids[0], ids[2], later, 'none'] })) as Record<string, unknown[]>;
      expect(Object.fromEntries(Object.entries(found).map(([id, [state]]) => [id, state]))).to.deep.equal({
        [ids[0]!]: 'active',
        [ids[2]!]: 'reserved',
        [later]: 'scheduled',
      });
    });

    it('tells about itself without giving secrets away', async () => {
      start();
      await isHeard();
      const stats = await ask('stats');
      expect(stats).to.have.nested.property('pool.max-concurrency', 2);
      expect(stats).to.include({ pid: process.pid, prefetch_count: 2 });
      const own = ((await ask('registered')) as string[]).filter((name) => !name.startsWith('celery.'));
      expect(own).to.deep.equal(['gate.late', 'gate.wait', 'sum']);
      const queues = (await ask('active_queues')) as { name: string; routing_key: string }[];
      expect(queues.map(({ name }) => name)).to.deep.equal(['work']);
      expect(await ask('conf')).to.include({ worker_concurrency: 2, task_acks_late: false });
      expect(await ask('report'))
        .to.have.property('ok')
        .that.contains('muster-worker:0');
      expect(await ask('clock'))
        .to.have.property('clock')
        .that.is.greaterThan(0);
      expect(await ask('memsample')).to.match(/^\d+\.\d\dMB$/);
    });

    it('does not run a task that is revoked before it starts, wherever it waits', async () => {
      start('--prefetch', '4', '--concurrency', '1');
      await isHeard();
      const running = await sendGated('running');
      await hasStarted('running');
      const held = await sendGated('held');
      const later = await sendGated('later', { countdown: 600 });
      await eventually(async () => ((await ask('scheduled')) as unknown[]).length === 1);
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 1);
      await ask('revoke', { task_id: [held, later, 'elsewhere', running] });
      for (const id of [held, later, 'elsewhere']) await eventually(async () => (await stateOf(id)) === 'REVOKED');
      expect(await ask('revoked')).to.have.members([held, later, 'elsewhere', running]);
      await client.send('gate.wait', ['elsewhere'], { queue: 'work', task_id: 'elsewhere' });
      gates.openAll();
      await eventually(async () => (await stateOf(running)) === 'SUCCESS');
      await eventually(async () => (await redis.command('HLEN', 'unacked')) === 0);
      expect(gates.started).to.deep.equal(['running']);
    });

    it('terminates a task that runs: its signal aborts, it is REVOKED, and its slot is free', async () => {
      start('--concurrency', '1', '--ack', 'late');
      await isHeard();
      const id = await sendGated('a');
      await hasStarted('a');
      expect(await ask('revoke', { task_id: id, terminate: true, signal: 'SIGTERM' })).to.deep.equal({
        ok: `terminate: ${id}`,
      });
      await eventually(async () => (await stateOf(id)) === 'REVOKED');
      expect(gates.aborted.get('a')).to.have.property('message', 'terminated');
      const deaf = await client.send('gate.late', ['deaf'], { queue: 'work' });
      await hasStarted('deaf');
      // As Flower's button says it.
      await ask('revoke', { task_id: [deaf], terminate: 1, signal: 'SIGTERM' });
      await eventually(async () => (await stateOf(deaf)) === 'REVOKED');
      await sendGated('next');
      await hasStarted('next');
      expect(await ask('revoke', { task_id: ['none'], terminate: true })).to.deep.equal({
        ok: 'terminate: tasks unknown',
      });
      await eventually(async () => (await redis.command('HLEN', 'unacked')) === 1);
    });

    it('keeps to a rate limit, and lets go when it is lifted', async () => {
      start('--concurrency', '4', '--prefetch', '4');
      await isHeard();
      expect(await ask('rate_limit', { task_name: 'gate.wait', rate_limit: '1/h' })).to.deep.equal({
        ok: 'new rate limit set successfully',
      });
      expect(await ask('registered')).to.include('gate.wait [rate_limit=1/h]');
      for (const name of ['a', 'b', 'c']) await sendGated(name);
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 2);
      const sum = await client.send('sum', [1, 2], { queue: 'work' });
      await eventually(async () => (await stateOf(sum)) === 'SUCCESS');
      expect(gates.started).to.deep.equal(['a']);
      await ask('rate_limit', { task_name: 'gate.wait', rate_limit: 0 });
      await hasStarted('a', 'b', 'c');
      expect(gates.started).to.deep.equal(['a', 'b', 'c']);
    });

    it('sets time limits for runs to come', async () => {
      start();
      await isHeard();
      expect(await ask('time_limit', { task_name: 'gate.wait', soft: null, hard: 0.2 })).to.deep.equal({
        ok: 'time limits set successfully',
      });
      const id = await sendGated('a');
      await eventually(async () => (await stateOf(id)) === 'FAILURE');
      expect((await client.result(id)).result).to.contain('0.2');
    });

    it('grows and shrinks', async () => {
      start('--concurrency', '1');
      await isHeard();
      for (const name of ['a', 'b', 'c']) await sendGated(name);
      await hasStarted('a');
      expect(await ask('pool_grow', { n: 2 })).to.deep.equal({ ok: 'pool will grow' });
      await hasStarted('a', 'b', 'c');
      expect(await ask('pool_shrink', { n: 2 })).to.deep.equal({ ok: 'pool will shrink' });
      expect(await ask('stats')).to.have.nested.property('pool.max-concurrency', 1);
      expect(await ask('pool_shrink', { n: 1 }))
        .to.have.property('error')
        .that.contains('one must stay');
      await sendGated('d');
      gates.open('a');
      gates.open('b');
      await eventually(async () => ((await ask('active')) as unknown[]).length === 1);
      expect(gates.started).not.to.include('d');
      gates.open('c');
      await hasStarted('d');
    });

    it('consumes one queue more, and one less', async () => {
      start();
      await isHeard();
      await client.send('gate.wait', ['x'], { queue: 'extra' });
      expect(await ask('add_consumer', { queue: 'extra' })).to.deep.equal({ ok: 'add consumer extra' });
      await hasStarted('x');
      expect(await redis.command('SMEMBERS', '_kombu.binding.extra')).to.deep.equal([
        'extra\u0006\u0016\u0006\u0016extra',
      ]);
      expect(await ask('cancel_consumer', { queue: 'work' })).to.deep.equal({ ok: 'no longer consuming from work' });
      await sendGated('not taken');
      await client.send('gate.wait', ['y'], { queue: 'extra' });
      await hasStarted('y');
      expect(gates.started).to.deep.equal(['x', 'y']);
      expect(await redis.command('LLEN', 'work')).to.equal(1);
    });

    it('drains: hands back in order what does not run, takes nothing, and resumes', async () => {
      const worker = start('--concurrency', '1', '--prefetch', '3');
      await isHeard();
      await sendGated('a');
      await sendGated('later', { countdown: 600 });
      for (const name of ['b', 'c', 'd', 'e']) await sendGated(name);
      await hasStarted('a');
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 3);
      await eventually(async () => ((await ask('scheduled')) as unknown[]).length === 1);
      expect(await ask('muster_drain')).to.deep.equal({ ok: { handedBack: 4, running: 1 } });
      await eventually(async () => (await redis.command('HLEN', 'unacked')) === 0);
      const waiting = (await redis.command('LRANGE', 'work', 0, -1)) as string[];
      const names = waiting.map((raw) => {
        const { body } = JSON.parse(raw) as { body: string };
        return (JSON.parse(Buffer.from(body, 'base64').toString()) as [[string]])[0][0];
      });
      expect(names.reverse().filter((name) => name !== 'later')).to.deep.equal(['b', 'c', 'd', 'e']);
      gates.open('a');
      await eventually(() => worker.executor.slots.running === 0);
      await sendGated('f');
      expect(await ask('active_queues')).to.deep.equal([]);
      expect(await ask('ping')).to.deep.equal({ ok: 'pong' });
      expect(gates.started).to.deep.equal(['a']);
      expect(await ask('muster_resume')).to.deep.equal({ ok: 'consuming' });
      gates.openAll();
      await hasStarted('a', 'b', 'c', 'd', 'e', 'f');
      expect(gates.started.slice(0, 5)).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
    });

    it('holds more or less after a change of prefetch', async () => {
      start('--concurrency', '1');
      await isHeard();
      for (const name of ['a', 'b', 'c', 'd']) await sendGated(name);
      await hasStarted('a');
      expect(await ask('reserved')).to.have.length(0);
      await ask('muster_prefetch', { policy: 'Multiplier', multiplier: 2 });
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 2);
      await ask('muster_prefetch', { policy: 'Unlimited' });
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 3);
      expect(await ask('muster_prefetch', { policy: 'Some' })).to.have.property('error');
    });

    it('revokes by stamp', async () => {
      start('--concurrency', '1', '--prefetch', '4');
      await isHeard();
      const stamped = (name: string, value: string): Promise<string> =>
        sendGated(name, { headers: { stamped_headers: ['tenant'], stamps: { tenant: [value] } } });
      const running = await stamped('running', 'acme');
      await hasStarted('running');
      const held = await stamped('held', 'acme');
      const other = await stamped('other', 'ajax');
      await eventually(async () => ((await ask('reserved')) as unknown[]).length === 2);
      await ask('revoke_by_stamped_headers', { headers: { tenant: ['acme'] } });
      await eventually(async () => (await stateOf(held)) === 'REVOKED');
      expect(await ask('revoke_by_stamped_headers', { headers: { tenant: ['acme'] }, terminate: true }))
        .to.have.property('ok')
        .that.contains('revoked');
      await eventually(async () => (await stateOf(running)) === 'REVOKED');
      gates.openAll();
      await eventually(async () => (await stateOf(other)) === 'SUCCESS');
    });

    it('asks to be ended by shutdown, and gives no answer', async () => {
      const worker = start();
      await isHeard();
      expect(await client.control('shutdown', {}, { destination: [node], timeout: 0.5 })).to.deep.equal({});
      await eventually(() => worker.shutdown.aborted);
    });

    it('leaves no reply behind for ever, and none for a client that is gone', async () => {
      start();
      await isHeard();
      const publish = (exchange: string, routingKey: string): Promise<unknown> => {
        const request = { method: 'ping', arguments: {}, ticket: 't', reply_to: { exchange, routing_key: routingKey } };
        const body = Buffer.from(JSON.stringify(request)).toString('base64');
        const properties = { body_encoding: 'base64', delivery_info: {} };
        const message = {
          body,
          'content-encoding': 'utf-8',
          'content-type': 'application/json',
          headers: {},
          properties,
        };
        return redis.command('PUBLISH', '/0.celery.pidbox', JSON.stringify(message));
      };
      await publish('reply.celery.pidbox', 'gone');
      await publish('', 'straight.reply');
      await eventually(async () => (await redis.command('LLEN', 'straight.reply')) === 1);
      expect(await redis.command('TTL', 'straight.reply')).to.be.within(1, 60);
      expect(await redis.command('KEYS', '*gone*')).to.deep.equal([]);
      await redis.command('PUBLISH', '/0.celery.pidbox', 'not a message');
      await isHeard();
    });

    it('hears again after Redis was restarted, and runs tasks meanwhile', async () => {
      start();
      await isHeard();
      await sendGated('a');
      await hasStarted('a');
      await redis.restart({ keepData: true });
      await isHeard();
      expect(await ask('active')).to.have.length(1);
    });
  });
}
