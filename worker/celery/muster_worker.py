"""What a Celery worker needs to be part of a Muster pool: one file, loaded with ``-I muster_worker``.

It makes the worker do what its WorkerPool says (prefetch, ack mode, broker options, routes) whatever style the app is
configured in, tells the operator in each heartbeat what the worker runs and holds, and gives back at SIGTERM what it
holds but does not run. It is told by environment variables that start with ``MUSTER_``.

It must never break a worker. Celery and kombu have no public way to do most of this, so every step runs inside
``attempt``: what fails becomes a short string in ``problems`` (in the heartbeat, so in the pool's status) and one log
line, and the worker runs on as Celery made it. Python 3.8 or newer, nothing but Celery and kombu.
"""
from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import weakref
from collections import Counter
from queue import Empty
from time import monotonic
from typing import Any, Callable, Iterable

from celery import bootsteps, current_app, signals
from celery.app.routes import MapRoute
from celery.utils.log import get_logger
from celery.worker import state
from kombu.transport.virtual import QoS as VirtualQoS

logger = get_logger('muster')

#: A change in what runs or is held is told after SETTLE seconds (a task that is over by then matters to nobody) and
#: not sooner than BEAT_GAP after the last heartbeat, so that many short tasks do not flood the broker.
SETTLE, BEAT_GAP = 0.05, 0.2
#: How often, at most, somebody who sends a task pays for a look (one stat) at the routes file.
ROUTES_LOOK_SECONDS = 1.0
#: Bounds on what travels in every heartbeat.
MAX_PROBLEMS, MAX_PROBLEM_CHARS = 8, 160


class RouteTable:
    """A Celery router over the pool's routes file, which is in the form of Celery's own ``task_routes``.

    It stands before the user's own routers and answers only for tasks that the table names; for any other task, and
    for an explicit ``queue=``, everything is as the user has it. It looks at the file by itself, because it must work
    in the forked children of a pool too, where tasks send tasks and no event loop runs. stat() follows the symbolic
    links by which Kubernetes swaps a ConfigMap, so a new version shows as another inode.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.routes = MapRoute({})
        self.stamp: Any = None
        self.look_at = 0.0

    def __reduce__(self) -> Any:  # settings are pickled for children that are spawned, not forked
        return RouteTable, (self.path,)

    def __call__(self, name: str, args: Any = (), kwargs: Any = None, options: Any = None, task: Any = None) -> Any:
        self.refresh()
        route = self.routes(name)
        queues = (getattr(task, 'app', None) or current_app).amqp.queues
        if route and route['queue'] not in queues and not queues.create_missing:
            # Celery would raise QueueNotFound in the middle of the user's own code.
            return muster.problem('routes', f"the app forbids queues that its task_queues lack: {route['queue']}")
        return route

    def refresh(self) -> None:
        """Read the file again if it changed. A broken file leaves the last good table in place."""
        now = monotonic()
        if now < self.look_at:
            return
        self.look_at = now + ROUTES_LOOK_SECONDS
        try:
            found = os.stat(self.path)
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp != self.stamp:
                with open(self.path, encoding='utf-8') as file:
                    table = json.load(file)
                self.routes = MapRoute({str(task): {'queue': str(route['queue'])} for task, route in table.items()})
                self.stamp = stamp
                muster.problems.pop('routes', None)
        except FileNotFoundError:  # the ConfigMap is optional: no pool of this namespace has routes (yet)
            self.routes, self.stamp = MapRoute({}), None
        except Exception as exc:  # pylint: disable=broad-except
            muster.problem('routes', f'the routes file cannot be used: {type(exc).__name__}: {exc}')


class Muster:
    """All that this file knows in one process; there is one, ``muster``, below."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.policy, self.ack_mode = env.get('MUSTER_PREFETCH_POLICY'), env.get('MUSTER_ACK_MODE')
        self.routes = RouteTable(env['MUSTER_ROUTES_FILE']) if env.get('MUSTER_ROUTES_FILE') else None
        self.problems: dict[str, str] = {}
        self.worker: Any = None
        self.consumer: Any = None
        self.heart: Any = None
        self.wakers: Any = None
        self.prefork = self.closing = False
        self.left = threading.Event()
        #: What the pool answered for each request that it was given; the channels that messages came from.
        self.applied: Any = weakref.WeakKeyDictionary()
        self.channels: Any = weakref.WeakSet()
        #: Whether a heartbeat is on its way, and what the last one said: anything running, anything held.
        self.armed, self.told, self.told_at = False, (False, False), 0.0

    def problem(self, what: str, text: str) -> None:
        """Remember that something cannot be done here, and log it once."""
        text = text[:MAX_PROBLEM_CHARS]
        if self.problems.get(what) != text and (what in self.problems or len(self.problems) < MAX_PROBLEMS):
            self.problems[what] = text
            logger.warning('muster: %s', text)

    def attempt(self, what: str, fun: Callable[..., Any], *args: Any) -> Any:
        """Call ``fun``; if it fails, the worker does without it."""
        try:
            return fun(*args)
        except Exception as exc:  # pylint: disable=broad-except
            return self.problem(what, f'{what} does not work here: {type(exc).__name__}: {exc}')

    # -- settings: before any part of the worker exists, so that they beat every configuration ----------------------

    def on_worker_init(self, sender: Any, **_: Any) -> None:
        """Set up the worker and hook into its blueprints."""
        self.worker, app, on_close = sender, sender.app, sender.on_close
        self.attempt('broker options', self.set_broker, app)
        self.attempt('prefetch', self.set_prefetch, app)
        self.attempt('ackMode', self.set_ack_mode, app)
        self.attempt('routes', self.set_routes, app)
        self.attempt('consumer', app.steps['consumer'].add, Hooks)

        def close() -> None:  # the first call of every shutdown, while the broker connection is open
            self.attempt('hand-back', self.hand_back)
            self.attempt('last heartbeats', self.keep_beating)
            on_close()
        sender.on_close = close

    def on_process_init(self, **_: Any) -> None:
        """A spawned (not forked) child is a new interpreter that never sees worker_init."""
        if self.worker is None:
            self.attempt('ackMode', self.set_ack_mode, current_app)
            self.attempt('routes', self.set_routes, current_app)

    def set_broker(self, app: Any) -> None:
        """Options of the Redis transport, over what the app says; those that the pool does not name stay."""
        own, own_ssl = app.conf.broker_transport_options or {}, app.conf.broker_use_ssl
        options = {key: parse(self.env[name]) for name, key, parse in (
            ('MUSTER_VISIBILITY_TIMEOUT_SECONDS', 'visibility_timeout', int),
            ('MUSTER_KEY_PREFIX', 'global_keyprefix', str),
            ('MUSTER_PRIORITY_STEPS', 'priority_steps', lambda steps: [int(step) for step in steps.split(',')]),
        ) if self.env.get(name)}
        set_conf(app, 'broker_transport_options', {**own, **options})
        if self.env.get('MUSTER_BROKER_CA_FILE'):
            trust = {'ssl_ca_certs': self.env['MUSTER_BROKER_CA_FILE'], 'ssl_cert_reqs': ssl.CERT_REQUIRED}
            set_conf(app, 'broker_use_ssl', {**(own_ssl if isinstance(own_ssl, dict) else {}), **trust})
        if app._pool is not None:  # connections that the app opened at import are without these options: forget them
            app._pool = app.amqp._producer_pool = None

    def set_prefetch(self, app: Any) -> None:
        """How many messages a worker may hold. Fair starts from 1, so as to be near even if late binding fails."""
        if self.policy:
            multipliers = {'Multiplier': self.env.get('MUSTER_PREFETCH_MULTIPLIER'), 'Fair': 1, 'Unlimited': 0}
            self.worker.prefetch_multiplier = int(multipliers[self.policy])
            # Celery's own late binding (5.6+) would overrule the pool's policy, and stalls threads and gevent.
            set_conf(app, 'worker_disable_prefetch', False)

    def set_ack_mode(self, app: Any) -> None:
        """On every task: ``@task(acks_late=...)``, and tasks that are bound already, ignore the setting."""
        if self.ack_mode:
            late = {'Early': False, 'Late': True}[self.ack_mode]
            set_conf(app, 'task_acks_late', late)
            app.finalize()
            for name, task in app.tasks.items():
                if not name.startswith('celery.'):
                    task.acks_late = late

    def set_routes(self, app: Any) -> None:
        """Put the routing table before the user's own routers, which stay."""
        if self.routes is not None:
            own = app.conf.task_routes or ()
            own = own if isinstance(own, (list, tuple)) else (own,)
            set_conf(app, 'task_routes', (self.routes, *(r for r in own if not isinstance(r, RouteTable))))
            app.amqp.flush_routes()
            app.amqp.router = app.amqp.Router()
            self.routes.refresh()

    # -- the running worker -----------------------------------------------------------------------------------------

    def hook_pool(self, pool: Any) -> None:
        """Learn when a task begins and ends, on every pool type, in whatever thread that is."""
        apply_async, self.prefork = pool.apply_async, getattr(pool, 'uses_semaphore', False)

        def followed(callback: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return callback(*args, **kwargs)
                finally:
                    self.changed()
                    self.attempt('waking the loop', self.wake)
            return call

        def hooked(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            request = getattr(options.get('accept_callback'), '__self__', None)
            for name in {'accept_callback', 'callback', 'error_callback'}.intersection(options):
                options[name] = options[name] and followed(options[name])
            result = apply_async(target, args, kwargs, **options)
            if request is not None:
                self.applied[request] = result
            return result
        pool.apply_async = hooked

    def on_consumer(self, c: Any) -> None:
        """After every (re)connect: channel and event dispatcher are new each time."""
        send, first, self.consumer = c.event_dispatcher.send, self.consumer is None, c

        def send_more(type: str, *args: Any, **fields: Any) -> Any:  # pylint: disable=redefined-builtin
            if type == 'worker-heartbeat':
                self.told, self.told_at = self.activity(), monotonic()
                extra = self.attempt('heartbeat', self.report)
                fields.update({'muster': extra} if extra else {})
            return send(type, *args, **fields)
        c.event_dispatcher.send = send_more
        self.attempt('late binding', self.hook_channel, c)
        if self.prefork and not first:
            self.attempt('reconnecting', self.mark_busy, c.pool._pool)
        if first:  # logging was not set up before
            for text in (f'prefetch {self.policy}, ack mode {self.ack_mode}', *self.problems.values()):
                logger.info('muster: %s: %s', self.env.get('MUSTER_POOL'), text)
        self.beat(always=True)

    def hook_channel(self, c: Any) -> None:
        """Fair: ask the broker for a message only while a slot is free. And outlive the channel.

        For every policy the answer is yes while a BRPOP is out: Redis may have taken the message from the list
        already, and a no would leave it unread in this worker's socket, in no key, lost if the pod is killed.
        """
        channel, qos, eta_limit = c.task_consumer.channel, c.task_consumer.channel.qos, c.app.conf.worker_eta_task_limit
        allowed, restore = qos.can_consume, qos.restore_unacked_once

        def can_consume() -> bool:
            if channel._in_poll or self.closing:
                return bool(channel._in_poll)
            if self.policy != 'Fair':
                return bool(allowed())
            full = len(state.active_requests) + len(self.held()) >= self.slots()
            return not full and not (eta_limit and len(self.scheduled()) >= eta_limit)

        def restore_unacked_once(*args: Any, **kwargs: Any) -> None:
            try:
                restore(*args, **kwargs)
            except AttributeError:  # 5.7.0 when Redis is gone, and Celery would end the worker with all that it runs
                logger.warning('muster: the broker is gone: what is not acknowledged stays in unacked')
        self.slots(), self.scheduled(), channel._in_poll  # what is missing must fail now, not in the loop
        qos.can_consume, qos.restore_unacked_once = can_consume, restore_unacked_once
        for old in self.channels:
            # Tasks from before a reconnect acknowledge on the old channel. In 5.7.0 it has no connection any more, and
            # the AttributeError would end the worker, other tasks and all.
            old.connection = old.connection or channel.connection
        self.channels.add(channel)

    def mark_busy(self, pool: Any) -> None:
        """Before 5.7 a reconnect forgets which processes are busy, and sends a task to one that runs a long one."""
        jobs = [job for job in pool._cache.values() if job._accepted and job._write_to]
        pool._busy_workers.update(job._write_to.inqW_fd for job in jobs)

    def slots(self) -> int:
        """How many tasks run at once. gevent's num_processes is (before 5.7) what runs now, so its limit counts."""
        worker, pool = self.worker, self.worker.pool
        if self.prefork and pool._pool is not None:  # prefork grows and shrinks
            return int(worker.max_concurrency or pool.num_processes)
        return int(pool.limit)

    def hook_loop(self, hub: Any) -> None:
        """Threads end tasks outside the loop, which then sleeps up to 2 s (kombu < 5.7): a socket wakes it."""
        if not self.prefork:
            self.wakers = self.wakers or socket.socketpair()
            for end in self.wakers:
                end.setblocking(False)
            hub.add_reader(self.wakers[1].fileno(), lambda *_: self.wakers[1].recv(4096))

    def wake(self) -> None:
        """A slot is free: ask for the next message now."""
        if self.wakers:
            try:
                self.wakers[0].send(b'.')
            except BlockingIOError:
                pass  # enough waking bytes are waiting
        elif getattr(self.worker.pool, 'is_green', False) and not self.closing:
            channel = self.consumer.task_consumer.channel
            connected = getattr(channel.client.connection, '_sock', None) is not None
            if connected and not channel._in_poll and channel.qos.can_consume():
                channel._brpop_start()

    # -- what the operator is told ----------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """The ``muster`` field of a heartbeat. What is not known is absent."""
        if self.routes is not None:  # a table that is broken must show even if this worker sends nothing
            self.routes.refresh()
        running, held = snapshot(state.active_requests), self.held()
        known = {'pool': self.env.get('MUSTER_POOL'), 'ackMode': self.ack_mode, 'prefetch': self.policy}
        return {
            'v': 1, **{key: value for key, value in known.items() if value},
            'queues': sorted(self.consumer.app.amqp.queues.consume_from), 'slots': self.slots(),
            'running': self.by_queue(running), 'held': self.by_queue(held + self.rate_limited()),
            'scheduled': len(self.scheduled()), 'problems': list(self.problems.values()),
        }

    def by_queue(self, requests: Iterable[Any]) -> dict[str, int]:
        """Count by the queue that the message came from."""
        queues = self.consumer.app.amqp.queues.consume_from
        names = {(queue.exchange.name, queue.routing_key): name for name, queue in queues.items()}
        places = [(r.delivery_info.get('exchange'), r.delivery_info.get('routing_key')) for r in requests]
        return dict(Counter(str(names.get(place, place[1]) if place[0] else place[1]) for place in places))

    def held(self) -> list[Any]:
        """Requests that wait for a slot. (Before 5.7 a reconnect forgets that those that run are reserved, too.)"""
        return [request for request in snapshot(state.reserved_requests) if request not in state.active_requests]

    def scheduled(self) -> list[Any]:
        """Requests with an ETA that is still to come (countdown and retry too): Celery keeps them only in its timer."""
        c = self.consumer
        waiting = (c.apply_eta_task, c._limit_post_eta)
        entries = [item.entry for item in snapshot(c.timer.schedule._queue)]
        return [entry.args[0] for entry in entries if entry.fun in waiting and not entry.canceled]

    def rate_limited(self) -> list[Any]:
        """Requests that wait for their task's rate limit: neither reserved nor scheduled in Celery's books."""
        buckets = [bucket for bucket in snapshot(self.consumer.task_buckets.values()) if bucket]
        return [request for bucket in buckets for request, _ in snapshot(bucket.contents)]

    def activity(self) -> tuple[bool, bool]:
        """Whether anything runs, and whether anything is held that does not run."""
        return bool(state.active_requests), bool(self.held())

    def changed(self, **_: Any) -> None:
        """Something was received, began or ended: tell the operator soon, if it is news. Called in any thread."""
        if not self.armed and not self.closing and self.consumer is not None:
            self.armed, hub = True, self.consumer.hub  # whose timer is not made for other threads
            self.attempt('heartbeat', *((hub.call_soon, self.arm) if hub else (self.arm,)))

    def arm(self) -> None:
        """Let a heartbeat follow."""
        self.consumer.timer.call_after(max(SETTLE, self.told_at + BEAT_GAP - monotonic()), self.beat)

    def beat(self, always: bool = False) -> None:
        """Send a heartbeat now, unless the last one said the same."""
        self.armed, heart = False, self.consumer.heart
        if heart and (always or self.activity() != self.told):
            self.attempt('heartbeat', lambda: heart._send('worker-heartbeat', retry=False))

    # -- the end ----------------------------------------------------------------------------------------------------

    def hand_back(self) -> None:
        """Give back at once, in order and at the head of the queue, what is here and does not run.

        Celery keeps it until the last running task has ended, which may take hours, and loses track of it if the
        pod is killed before. What runs goes on, and what has run is acknowledged, by Celery as ever.
        """
        c, self.closing = self.consumer, True
        if c is None or not c.connection or not c.task_consumer or c.connection.transport.driver_type != 'redis':
            return
        channel, unread, semaphore = c.task_consumer.channel, [], self.worker.semaphore
        c.task_consumer.on_message = unread.append
        c.on_task_request = state.task_ready  # an ETA or a rate limit that falls due from now on starts nothing
        if semaphore is not None:
            semaphore._waiting.clear()
        self.attempt('reading what is on its way', self.settle, channel)
        waiting = [r for r in self.held() if not r.acknowledged and self.withdraw(r)]
        waiting += self.scheduled() + self.rate_limited()
        tags = {message.delivery_tag for message in unread}.union(r.message.delivery_tag for r in waiting)
        tags = [tag for tag in reversed(channel.qos._delivered) if tag in tags]
        for tag in tags:
            channel.qos.restore_by_tag(tag)  # to the head: so from the last to the first, and the first is served next
            VirtualQoS.ack(channel.qos, tag)  # or Celery would restore it a second time at exit
        for request in waiting:
            state.task_ready(request)
        logger.info('muster: handed back %d messages, %d tasks still run', len(tags), len(state.active_requests))

    def withdraw(self, request: Any) -> bool:
        """Keep a request from starting; false if a process, greenlet or thread has it. Threads queue in their pool."""
        future = getattr(self.applied.get(request), 'f', None)
        return request not in self.applied or (future is not None and future.cancel())

    def settle(self, channel: Any) -> None:
        """Wait (about a second at most) for the answer of the BRPOP that is out: it may carry a message."""
        if channel._in_poll and channel.client.connection.can_read(timeout=min(channel.brpop_timeout or 1, 2) + 0.5):
            try:
                channel._brpop_read()
            except Empty:
                pass

    def keep_beating(self) -> None:
        """Celery says worker-offline at SIGTERM, hours before the last task ends: say the truth until ``leave``."""
        c = self.consumer
        self.heart, c.heart = c.heart, None  # so Celery's own stop finds none
        c.timer.cancel(self.heart.tref)

        def beats() -> None:
            while not self.left.is_set():
                self.attempt('last heartbeats', lambda: self.heart._send('worker-heartbeat', retry=False))
                self.left.wait(self.heart.interval)
        threading.Thread(target=beats, name='muster-heart', daemon=True).start()

    def leave(self) -> None:
        """The last task has ended, and the connection is about to be closed."""
        self.left.set()
        if self.heart is not None:
            self.heart.stop()


class Hooks(bootsteps.StartStopStep):
    """In the consumer's blueprint: made before its other parts are started, started after what receives tasks and
    before the loop, and again at each reconnect; shut down last, while there still is a connection."""

    requires = ('celery.worker.consumer.tasks:Tasks', 'celery.worker.consumer.heart:Heart')

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        muster.attempt('pool', muster.hook_pool, parent.pool)

    def start(self, parent: Any) -> None:
        muster.attempt('consumer', muster.on_consumer, parent)

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:  # the loop forgets all readers when it restarts
        muster.attempt('waking the loop', muster.hook_loop, hub)

    def shutdown(self, parent: Any) -> None:
        muster.attempt('last heartbeats', muster.leave)


def snapshot(items: Iterable[Any]) -> list[Any]:
    """A copy of what other threads change meanwhile."""
    while True:
        try:
            return list(items)
        except RuntimeError:  # changed size during iteration
            continue


def set_conf(app: Any, key: str, value: Any) -> None:
    """Set a setting above all others, also if the app has it under a prefix or an old name."""
    app.conf.finalize()
    app.conf.changes.update({name: value for name in app.conf._to_keys(key)})


muster = Muster(os.environ)
if os.environ.get('MUSTER_POOL') and os.environ.get('CELERY_BROKER_URL'):
    # An app's broker_read_url beats CELERY_BROKER_URL, and the worker would consume from a broker the pool is not on.
    os.environ.setdefault('CELERY_BROKER_READ_URL', os.environ['CELERY_BROKER_URL'])
signals.worker_init.connect(muster.on_worker_init)
signals.worker_process_init.connect(muster.on_process_init)
signals.task_received.connect(muster.changed)
