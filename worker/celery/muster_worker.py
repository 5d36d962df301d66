"""What a Celery worker needs to be part of a Muster pool: one file, loaded with ``-I muster_worker``.

It makes the worker do what its WorkerPool says (prefetch, ack mode, broker options, routes) whatever style the app is
configured in, tells the operator in each heartbeat what the worker runs and holds, and gives back at SIGTERM what it
holds but does not run. It is told by environment variables that start with ``MUSTER_``.

It must never break a worker. There is no public way to do most of this, so every step runs inside ``attempt``: what
fails becomes a short string in ``problems`` (in the heartbeat, so in the pool's status) and one log line, and the
worker runs on as Celery made it. Python 3.8 or newer, nothing but Celery and kombu.
"""
from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import weakref
from collections import Counter
from contextlib import suppress
from queue import Empty
from time import monotonic
from typing import Any, Callable, Iterable

from celery import bootsteps, current_app, signals
from celery.app.routes import MapRoute
from celery.utils.log import get_logger
from celery.worker import state
from kombu.transport.virtual import QoS as VirtualQoS

logger = get_logger('muster')

SETTLE, BEAT_GAP = 0.05, 0.2  #: seconds from a change to the heartbeat that tells it, and between two heartbeats
ROUTES_LOOK_SECONDS = 1.0  #: how often, at most, somebody who sends a task pays for a look (one stat) at the file
MAX_PROBLEM_CHARS = 160  #: of each, because it travels in every heartbeat


class RouteTable:
    """A Celery router over the pool's routes file, which is in the form of Celery's own ``task_routes``.

    It stands before the user's own routers and answers only for tasks that the table names; for any other task, and
    for an explicit ``queue=``, all is as the user has it. It looks at the file by itself, because it must work in the
    forked children of a pool too, where tasks send tasks and no loop runs.
    """

    def __init__(self, path: str) -> None:
        self.path, self.routes, self.stamp, self.look_at = path, MapRoute({}), None, 0.0  # type: Any, Any, Any, float

    def __call__(self, name: str, *_: Any, **__: Any) -> Any:
        self.refresh()
        return self.routes(name)

    def refresh(self) -> None:
        """Read the file again if it changed. A broken file leaves the last good table in place."""
        if monotonic() < self.look_at:
            return
        self.look_at = monotonic() + ROUTES_LOOK_SECONDS
        try:
            found = os.stat(self.path)  # follows the links by which Kubernetes swaps a ConfigMap: another inode
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp != self.stamp:
                with open(self.path, encoding='utf-8') as file:
                    self.load(json.load(file))
                self.stamp = stamp
        except FileNotFoundError:  # the ConfigMap is optional: no pool of this namespace has routes (yet)
            self.stamp = self.load({})
        except Exception as exc:  # pylint: disable=broad-except
            self.stamp = muster.problem('routes', f'the routes file cannot be used: {type(exc).__name__}: {exc}')

    def load(self, table: Any) -> Any:
        """Take over a table. For a queue that the app forbids, Celery would raise in the middle of the user's code."""
        queues = (muster.worker.app if muster.worker else current_app).amqp.queues
        routes = {str(task): {'queue': str(route['queue'])} for task, route in table.items()}
        forbidden = {r['queue'] for r in routes.values() if r['queue'] not in queues and not queues.create_missing}
        self.routes = MapRoute({task: r for task, r in routes.items() if r['queue'] not in forbidden})
        muster.problems.pop('routes', None)
        if forbidden:
            muster.problem('routes', f"no queue in the app's task_queues, which allows no other: {sorted(forbidden)}")


class Muster:
    """All that this file knows in one process; there is one, ``muster``, below."""

    def __init__(self, env: Any) -> None:
        self.env, self.problems = env, {}  # type: Any, dict[str, str]
        self.policy, self.ack_mode = env.get('MUSTER_PREFETCH_POLICY'), env.get('MUSTER_ACK_MODE')
        self.routes = RouteTable(env['MUSTER_ROUTES_FILE']) if env.get('MUSTER_ROUTES_FILE') else None
        self.worker = self.consumer = self.heart = self.wakers = None  # type: Any
        self.prefork = self.closing = False
        self.left = threading.Event()
        #: For each request that the pool was given, the Future in a pool of threads; channels that messages came from.
        self.applied: Any = weakref.WeakKeyDictionary()
        self.channels: Any = weakref.WeakSet()
        #: Whether a heartbeat is on its way; what the last one said (anything running, anything held) and when.
        self.armed, self.told, self.told_at = False, (False, False), 0.0

    def problem(self, what: str, text: str) -> Any:
        """Remember that something cannot be done here, and log it once."""
        text = text[:MAX_PROBLEM_CHARS]
        if self.problems.get(what) != text:
            self.problems[what] = text
            logger.warning('muster: %s', text)

    def attempt(self, what: str, fun: Callable[..., Any], *args: Any) -> Any:
        """Call ``fun``; if it fails, the worker does without it."""
        try:
            return fun(*args)
        except Exception as exc:  # pylint: disable=broad-except
            if isinstance(exc, getattr(self.consumer, 'connection_errors', ())):  # not for lack of anything here
                return logger.info('muster: %s: the broker is away: %s', what, exc)
            return self.problem(what, f'{what} does not work here: {type(exc).__name__}: {exc}')

    def on_worker_init(self, sender: Any, **_: Any) -> None:
        """Set up the worker and hook into its blueprints."""
        self.worker, app, on_close = sender, sender.app, sender.on_close
        for what in ('broker', 'prefetch', 'ack_mode', 'routes'):
            self.attempt(what, getattr(self, f'set_{what}'), app)
        self.attempt('consumer', app.steps['consumer'].add, Hooks)

        def close() -> None:  # the first call of every shutdown, while the broker connection is open
            self.attempt('hand-back', self.hand_back)
            if self.consumer and self.consumer.heart:
                self.attempt('last heartbeats', self.keep_beating)
            on_close()
        sender.on_close = close

    def on_process_init(self, **_: Any) -> None:
        """A spawned (not forked) child is a new interpreter that never sees worker_init."""
        for fun in (self.set_ack_mode, self.set_routes) if self.worker is None else ():
            self.attempt('pool process', fun, current_app)

    def set_broker(self, app: Any) -> None:
        """Options of the Redis transport, over what the app says; those that the pool does not name stay."""
        options = {key: parse(self.env[name]) for name, key, parse in (
            ('MUSTER_VISIBILITY_TIMEOUT_SECONDS', 'visibility_timeout', int),
            ('MUSTER_KEY_PREFIX', 'global_keyprefix', str),
            ('MUSTER_PRIORITY_STEPS', 'priority_steps', lambda steps: [int(step) for step in steps.split(',')]),
        ) if self.env.get(name)}
        set_conf(app, 'broker_transport_options', {**(app.conf.broker_transport_options or {}), **options})
        own, ca, url = app.conf.broker_use_ssl, *map(self.env.get, ('MUSTER_BROKER_CA_FILE', 'CELERY_BROKER_URL'))
        if ca or (url and url.startswith('rediss:') and 'ssl_cert_reqs' not in url and not own):  # or nobody checks
            trust = {'ssl_cert_reqs': ssl.CERT_REQUIRED, **({'ssl_ca_certs': ca} if ca else {})}
            set_conf(app, 'broker_use_ssl', {**(own if isinstance(own, dict) else {}), **trust})
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

    def hook_pool(self, pool: Any) -> None:
        """Learn when a task begins and ends, on every pool type, in whatever thread that is."""
        apply_async, self.prefork = pool.apply_async, getattr(pool, 'uses_semaphore', False)

        def followed(callback: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return callback(*args, **kwargs)
                finally:
                    self.attempt('heartbeat', self.changed)
                    self.attempt('waking the loop', self.wake)
            return call

        def hooked(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            request = getattr(options.get('accept_callback'), '__self__', None)
            for name in {'accept_callback', 'callback', 'error_callback'}.intersection(options):
                options[name] = options[name] and followed(options[name])
            result = apply_async(target, args, kwargs, **options)
            if request is not None:  # weak: a Future, and so its request, must not outlive the task because of this
                self.applied[request] = weakref.ref(result.f) if hasattr(result, 'f') else None
            return result
        pool.apply_async = hooked

    def on_consumer(self, c: Any) -> None:
        """After every (re)connect: channel and event dispatcher are new each time."""
        send, first, self.consumer = c.event_dispatcher.send, self.consumer is None, c

        def send_more(type: str, *args: Any, **fields: Any) -> Any:  # pylint: disable=redefined-builtin
            if type == 'worker-heartbeat':
                extra = self.attempt('heartbeat', self.report)
                fields.update({'muster': extra} if extra else {})
            return send(type, *args, **fields)
        c.event_dispatcher.send = send_more
        self.attempt('late binding', self.hook_channel, c)
        if first:  # logging was not set up before
            for text in (f'prefetch {self.policy}, ack mode {self.ack_mode}', *self.problems.values()):
                logger.info('muster: %s: %s', self.env.get('MUSTER_POOL'), text)
        self.beat(always=True)

    def hook_channel(self, c: Any) -> None:
        """Fair: ask the broker for a message only while a slot is free. And outlive the channel.

        For every policy the answer is yes while a BRPOP is out: Redis may have taken the message from the list
        already, and a no would leave it unread in this worker's socket, in no key, lost if the pod is killed.
        """
        channel, eta_limit = c.task_consumer.channel, c.app.conf.get('worker_eta_task_limit')
        qos, allowed, restore = channel.qos, channel.qos.can_consume, channel.qos.restore_unacked_once

        def can_consume() -> bool:
            if channel._in_poll or self.closing:
                return bool(channel._in_poll)
            if self.policy != 'Fair':
                return bool(allowed())
            full = len(state.active_requests) + len(self.held()) >= self.slots()
            return not full and not (eta_limit and len(self.scheduled()) >= eta_limit)

        def restore_unacked_once(*args: Any, **kwargs: Any) -> None:
            with suppress(AttributeError):  # 5.7.0 when Redis is gone; Celery would end the worker and all that it runs
                restore(*args, **kwargs)
        self.slots(), self.held(), self.scheduled(), channel._in_poll  # what is missing must fail now, not in the loop
        qos.can_consume, qos.restore_unacked_once = can_consume, restore_unacked_once
        for old in self.channels:
            # Tasks from before a reconnect acknowledge on the old channel, which in 5.7.0 has no connection any more:
            # the AttributeError would end the worker, other tasks and all.
            old.connection = old.connection or channel.connection
        self.channels.add(channel)
        if self.prefork:  # before 5.7 a reconnect forgets which processes are busy, and sends a task to one of them
            jobs = [job for job in c.pool._pool._cache.values() if job._accepted and job._write_to]
            c.pool._pool._busy_workers.update(job._write_to.inqW_fd for job in jobs)

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
            self.wakers[0].setblocking(False)
            hub.add_reader(self.wakers[1].fileno(), lambda *_: self.wakers[1].recv(4096))

    def wake(self) -> None:
        """A slot is free: ask for the next message now."""
        if self.wakers:
            with suppress(BlockingIOError):  # enough waking bytes are waiting
                self.wakers[0].send(b'.')
        elif getattr(self.worker.pool, 'is_green', False) and not self.closing:
            channel = self.consumer.task_consumer.channel
            if getattr(channel.client.connection, '_sock', None) and not channel._in_poll and channel.qos.can_consume():
                channel._brpop_start()

    def report(self) -> dict[str, Any]:
        """The ``muster`` field of a heartbeat. What is not known is absent."""
        if self.routes is not None:  # a table that is broken must show even if this worker sends nothing
            self.routes.refresh()
        running, held = snapshot(state.active_requests), self.held()
        self.told, self.told_at = (bool(running), bool(held)), monotonic()
        known = {'pool': self.env.get('MUSTER_POOL'), 'ackMode': self.ack_mode, 'prefetch': self.policy}
        return {
            'v': 1, **{key: value for key, value in known.items() if value}, 'slots': self.slots(),
            'queues': sorted(self.consumer.app.amqp.queues.consume_from), 'scheduled': len(self.scheduled()),
            'running': self.by_queue(running), 'held': self.by_queue(held), 'problems': list(self.problems.values()),
        }

    def by_queue(self, requests: Iterable[Any]) -> dict[str, int]:
        """Count by the queue that the message came from."""
        queues = self.consumer.app.amqp.queues.consume_from
        names = {(queue.exchange.name, queue.routing_key): name for name, queue in queues.items()}
        places = [(r.delivery_info.get('exchange'), r.delivery_info.get('routing_key')) for r in requests]
        return dict(Counter(str(names.get(place, place[1])) for place in places))

    def held(self) -> list[Any]:
        """Requests that wait for a slot (before 5.7 a reconnect makes those that run not reserved) or a rate limit."""
        waiting = [request for request in snapshot(state.reserved_requests) if request not in state.active_requests]
        buckets = [bucket for bucket in snapshot(self.consumer.task_buckets.values()) if bucket]
        return waiting + [request for bucket in buckets for request, _ in snapshot(bucket.contents)]

    def scheduled(self) -> list[Any]:
        """Requests with an ETA that is still to come (countdown and retry too): Celery keeps them only in its timer."""
        c = self.consumer
        waiting = (c.apply_eta_task, c._limit_post_eta)
        entries = [item.entry for item in snapshot(c.timer.schedule._queue)]
        return [entry.args[0] for entry in entries if entry.fun in waiting and not entry.canceled]

    def changed(self, **_: Any) -> None:
        """Something was received, began or ended: tell the operator soon, if it is news. Called in any thread."""
        if not self.armed and not self.closing and self.consumer is not None:
            self.armed, c = True, self.consumer
            call = c.hub.call_soon if c.hub else (lambda fun, *args: fun(*args))  # the timer is the loop's own
            wait = max(SETTLE, self.told_at + BEAT_GAP - monotonic())
            self.attempt('heartbeat', call, c.timer.call_after, wait, self.attempt, ('heartbeat', self.beat))

    def beat(self, always: bool = False) -> None:
        """Send a heartbeat now, unless the last one said the same."""
        self.armed, heart = False, self.consumer.heart
        if heart and (always or (bool(state.active_requests), bool(self.held())) != self.told):
            heart._send('worker-heartbeat', retry=False)

    def hand_back(self) -> None:
        """Give back at once, in order and at the head of the queue, what is here and does not run.

        Celery keeps it until the last running task has ended, hours later, or loses it when the pod is killed before.
        """
        c, self.closing = self.consumer, True
        ready = c and c.connection and c.task_consumer and 'pool' not in self.problems  # else what runs is not known
        if not ready or c.connection.transport.driver_type != 'redis':
            return
        channel, semaphore, unread = c.task_consumer.channel, self.worker.semaphore, []  # type: Any, Any, Any
        c.task_consumer.on_message = unread.append
        c.on_task_request = state.task_ready  # an ETA or a rate limit that falls due from now on starts nothing
        if semaphore is not None:
            semaphore._waiting.clear()
        if channel._in_poll and channel.client.connection.can_read(timeout=min(channel.brpop_timeout or 1, 2) + 0.5):
            with suppress(Empty):  # the answer of the BRPOP that is out: it may carry a message
                channel._brpop_read()
        waiting = [r for r in self.held() if not r.acknowledged and self.withdraw(r)] + self.scheduled()
        ours = {message.delivery_tag for message in unread}.union(r.message.delivery_tag for r in waiting)
        tags = [tag for tag in reversed(channel.qos._delivered) if tag in ours]
        for tag in tags:
            channel.qos.restore_by_tag(tag)  # to the head: so from the last to the first, and the first is served next
            VirtualQoS.ack(channel.qos, tag)  # or Celery would restore it a second time at exit
        for request in waiting:
            state.task_ready(request)
        logger.info('muster: handed back %d messages, %d tasks still run', len(tags), len(state.active_requests))

    def withdraw(self, request: Any) -> bool:
        """Keep a request from starting; false if a process, greenlet or thread has it. Threads queue in their pool."""
        future = self.applied.get(request)
        return request not in self.applied or bool(future and future() and future().cancel())

    def keep_beating(self) -> None:
        """Celery says worker-offline at SIGTERM, hours before the last task ends: say the truth until then."""
        self.heart, self.consumer.heart = self.consumer.heart, None  # so Celery's own stop finds none
        self.consumer.timer.cancel(self.heart.tref)

        def beats() -> None:
            while not self.left.is_set():
                self.attempt('last heartbeats', lambda: self.heart._send('worker-heartbeat', retry=False))
                self.left.wait(self.heart.interval)
        threading.Thread(target=beats, name='muster-heart', daemon=True).start()


class Hooks(bootsteps.StartStopStep):  # type: ignore[misc]
    """In the consumer's blueprint: started, also after a reconnect, when all is there but the loop does not run yet."""

    requires = ('celery.worker.consumer.tasks:Tasks', 'celery.worker.consumer.heart:Heart')

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        muster.attempt('pool', muster.hook_pool, parent.pool)

    def start(self, parent: Any) -> None:
        muster.attempt('consumer', muster.on_consumer, parent)

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:  # it forgets its readers when it starts again
        muster.attempt('waking the loop', muster.hook_loop, hub)

    def shutdown(self, parent: Any) -> None:
        muster.left.set()
        if muster.heart is not None:
            muster.attempt('last heartbeats', muster.heart.stop)


def snapshot(items: Iterable[Any]) -> list[Any]:
    """A copy of what other threads change meanwhile."""
    with suppress(RuntimeError):  # changed size during iteration
        return list(items)
    return snapshot(items)


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
signals.task_received.connect(lambda **_: muster.attempt('heartbeat', muster.changed), weak=False)
