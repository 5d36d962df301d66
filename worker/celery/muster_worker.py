"""What a Celery worker needs to be part of a Muster pool: one file, loaded with ``-I muster_worker``.

It makes the worker do what its WorkerPool says (prefetch, ack mode, broker options, routes) whatever style the app is
configured in, tells the operator in each heartbeat what the worker runs and holds, and gives back at SIGTERM what it
holds but does not run. It reads environment variables that start with ``MUSTER_`` and nothing else.

It must never break a worker. Celery and kombu have no public way to do most of this, so every step runs inside
``attempt``: what fails becomes a short string in ``problems`` (in the heartbeat, so in the pool's status) and one log
line, and the worker runs on as Celery made it. Python 3.8 or newer, no dependency but Celery itself.
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
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from celery import bootsteps, current_app, signals
from celery.app.routes import MapRoute
from celery.utils.log import get_logger
from celery.worker import state
from kombu.transport.virtual import QoS as VirtualQoS

logger = get_logger('muster')

#: A change in what is running or held is told after SETTLE seconds (a task that is over by then never mattered to
#: anybody) and never sooner than BEAT_GAP after the last heartbeat, so that many short tasks do not flood the broker.
SETTLE, BEAT_GAP = 0.05, 0.2
#: How often, at most, the routes file is looked at. One stat: cheap enough to be paid by whoever sends a task.
ROUTES_LOOK_SECONDS = 1.0
#: Bounds on what travels in every heartbeat.
MAX_PROBLEMS, MAX_PROBLEM_CHARS = 8, 160


class RouteTable:
    """A Celery router over the pool's routes file, which is in the form of Celery's own ``task_routes``.

    It stands before the user's own routers and answers only for tasks that the table names; for any other task, and
    for an explicit ``queue=``, everything is as the user has it. It looks at the file itself, at most once a second,
    because it must also work in the forked children of a pool, where tasks send tasks and no event loop runs. stat()
    follows the symbolic links by which Kubernetes swaps a ConfigMap, so a new version shows as another inode.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: Optional[Tuple[int, ...]] = None
        self._look_at = 0.0
        self._routes = MapRoute({})

    def __reduce__(self) -> Any:  # the app's settings are pickled for children that are spawned, not forked
        return RouteTable, (self.path,)

    def __call__(self, name: str, args: Any = (), kwargs: Any = None, options: Any = None, task: Any = None,
                 **_: Any) -> Optional[Dict[str, Any]]:
        self.refresh()
        route = self._routes(name)
        if not route:
            return None
        queues = (getattr(task, 'app', None) or current_app).amqp.queues
        if route['queue'] not in queues and not queues.create_missing:
            # Celery would raise QueueNotFound in the middle of the user's own code.
            muster.problem('routes', f"queue {route['queue']} is not in task_queues, and the app forbids to add it")
            return None
        return route

    def refresh(self) -> None:
        """Read the file again if it changed. A broken file leaves the last good table in place."""
        now = monotonic()
        if now < self._look_at:
            return
        self._look_at = now + ROUTES_LOOK_SECONDS
        try:
            found = os.stat(self.path)
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp == self._stamp:
                return
            with open(self.path, encoding='utf-8') as file:
                table = json.load(file)
            self._routes = MapRoute({str(task): {'queue': str(route['queue'])} for task, route in table.items()})
            self._stamp = stamp
            muster.problems.pop('routes', None)
        except FileNotFoundError:  # no pool of this namespace has routes (yet): the ConfigMap is optional
            self._routes, self._stamp = MapRoute({}), None
        except Exception as exc:  # pylint: disable=broad-except
            muster.problem('routes', f'the routes file cannot be used: {type(exc).__name__}: {exc}')


class Muster:
    """All that this file knows in one process; there is one, ``muster``, below."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.policy = env.get('MUSTER_PREFETCH_POLICY', '')
        self.ack_mode = env.get('MUSTER_ACK_MODE', '')
        self.routes = RouteTable(env['MUSTER_ROUTES_FILE']) if env.get('MUSTER_ROUTES_FILE') else None
        self.problems: Dict[str, str] = {}
        self.worker: Any = None
        self.consumer: Any = None
        self.closing = False
        #: Requests that a process, thread or greenlet has: they will run, whatever happens to the rest.
        self.taken: Any = weakref.WeakSet()
        #: Requests that were given back to the broker and must not start here any more.
        self.given_back: Any = weakref.WeakSet()
        self.lock = threading.Lock()
        self._waker: Optional[socket.socket] = None
        self._armed = False
        self._told: Tuple[bool, bool] = (False, False)
        self._told_at = 0.0

    # -- problems ---------------------------------------------------------------------------------------------------

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

    # -- settings: once, before the worker is built -----------------------------------------------------------------

    def on_worker_init(self, sender: Any, **_: Any) -> None:
        """Set up the worker. No part of it exists yet, so what is set on ``sender`` beats every configuration."""
        self.worker = sender
        app = sender.app
        for what, fun in (('broker options', self.set_broker), ('prefetch', self.set_prefetch),
                          ('ackMode', self.set_ack_mode), ('routes', self.set_routes)):
            self.attempt(what, fun, app)
        self.attempt('heartbeat', app.steps['worker'].add, PoolHooks)
        self.attempt('heartbeat', app.steps['consumer'].add, ConsumerHooks)
        on_close = sender.on_close

        def close() -> None:  # the first call of every shutdown, while the broker connection is open
            self.attempt('hand-back', self.hand_back)
            on_close()
        sender.on_close = close

    def set_broker(self, app: Any) -> None:
        """Options of the Redis transport, over what the app says; those that Muster does not name stay."""
        env = self.env
        options: Dict[str, Any] = {}
        if env.get('MUSTER_VISIBILITY_TIMEOUT_SECONDS'):
            options['visibility_timeout'] = int(env['MUSTER_VISIBILITY_TIMEOUT_SECONDS'])
        if env.get('MUSTER_KEY_PREFIX'):
            options['global_keyprefix'] = env['MUSTER_KEY_PREFIX']
        if env.get('MUSTER_PRIORITY_STEPS'):
            options['priority_steps'] = [int(step) for step in env['MUSTER_PRIORITY_STEPS'].split(',')]
        if options:
            set_conf(app, 'broker_transport_options', {**(app.conf.broker_transport_options or {}), **options})
        if env.get('MUSTER_BROKER_CA_FILE'):
            own = app.conf.broker_use_ssl
            set_conf(app, 'broker_use_ssl', {
                **(own if isinstance(own, dict) else {}),
                'ssl_ca_certs': env['MUSTER_BROKER_CA_FILE'], 'ssl_cert_reqs': ssl.CERT_REQUIRED,
            })
        if getattr(app, '_pool', None) is not None:
            # Connections that the app has opened at import are without these options: the next one is made anew.
            app._pool = app.amqp._producer_pool = None

    def set_prefetch(self, app: Any) -> None:
        """The number of messages a worker may hold. Fair starts from 1, so that it is near if late binding fails."""
        multiplier = {'Fair': '1', 'Unlimited': '0'}.get(self.policy, self.env.get('MUSTER_PREFETCH_MULTIPLIER'))
        if not self.policy or multiplier is None:
            return
        self.worker.prefetch_multiplier = int(multiplier)
        # Celery's own late binding (5.6+) would overrule Multiplier and Unlimited, and stalls threads and gevent.
        set_conf(app, 'worker_disable_prefetch', False)

    def set_ack_mode(self, app: Any) -> None:
        """On each task, as ``@task(acks_late=...)`` and tasks that are already bound ignore the setting."""
        if not self.ack_mode:
            return
        late = self.ack_mode == 'Late'
        set_conf(app, 'task_acks_late', late)
        app.finalize()
        for name, task in app.tasks.items():
            if not name.startswith('celery.'):
                task.acks_late = late

    def set_routes(self, app: Any) -> None:
        """Put the routing table before the user's own routers."""
        if self.routes is None:
            return
        own = app.conf.task_routes or ()
        own = own if isinstance(own, (list, tuple)) else (own,)
        if not any(isinstance(router, RouteTable) for router in own):
            set_conf(app, 'task_routes', (self.routes, *own))
            app.amqp.flush_routes()
            app.amqp.router = app.amqp.Router()
        self.routes.refresh()

    def on_process_init(self, **_: Any) -> None:
        """A spawned (not forked) child is a new interpreter that never sees worker_init."""
        if self.worker is None:
            self.attempt('ackMode', self.set_ack_mode, current_app)
            self.attempt('routes', self.set_routes, current_app)

    # -- the running worker -----------------------------------------------------------------------------------------

    def hook_pool(self, worker: Any) -> None:
        """Learn from the pool when a task begins and ends, on every pool type, in whatever thread that is."""
        pool, prefork = worker.pool, getattr(worker.pool, 'uses_semaphore', False)
        apply_async = pool.apply_async

        def hooked(target: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            accept = options.get('accept_callback')
            request = getattr(accept, '__self__', None)
            if request is None:
                return apply_async(target, args, kwargs, **options)

            def accepted(*a: Any, **k: Any) -> Any:
                with self.lock:
                    if request in self.given_back:
                        return None
                    self.taken.add(request)
                try:
                    return accept(*a, **k)
                finally:
                    self.changed()

            def run(*a: Any, **k: Any) -> Any:
                return target(*a, **k) if request not in self.given_back else None

            def ended(callback: Callable[..., Any]) -> Callable[..., Any]:
                def call(*a: Any, **k: Any) -> Any:
                    if request in self.given_back:
                        return None
                    try:
                        return callback(*a, **k)
                    finally:
                        self.taken.discard(request)
                        self.changed()
                        self.attempt('waking the loop', self.wake)
                return call

            options['accept_callback'] = accepted
            for name in ('callback', 'error_callback'):
                if options.get(name):
                    options[name] = ended(options[name])
            if prefork:  # a process has it as soon as it is applied; and the target is sent there, so it stays as it is
                self.taken.add(request)
                return apply_async(target, args, kwargs, **options)
            return apply_async(run, args, kwargs, **options)
        pool.apply_async = hooked

    def on_consumer(self, c: Any) -> None:
        """After every (re)connect: channel and event dispatcher are new each time."""
        first, self.consumer = self.consumer is None, c
        send, dispatcher = c.event_dispatcher.send, c.event_dispatcher

        def send_more(type: str, *args: Any, **fields: Any) -> Any:  # pylint: disable=redefined-builtin
            if type == 'worker-heartbeat':
                self._told, self._told_at = self.activity(), monotonic()
                fields['muster'] = self.attempt('heartbeat', self.report)
            return send(type, *args, **fields)
        dispatcher.send = send_more
        self.attempt('late binding', self.bind_late, c)
        if first:
            logger.info('muster: pool %s, prefetch %s, ack mode %s', self.env.get('MUSTER_POOL', 'unknown'),
                        self.policy or 'as the app has it', self.ack_mode or 'as the app has it')
            for text in self.problems.values():  # from before logging was set up
                logger.warning('muster: %s', text)
        self.beat(always=True)

    def bind_late(self, c: Any) -> None:
        """Fair: ask the broker for a message only while a slot is free.

        For every policy the answer is yes while a BRPOP is out: Redis may have taken the message from the list
        already, and a no would leave it unread in this worker's socket, in no key, lost if the pod is killed.
        """
        channel = c.task_consumer.channel
        qos, allowed, eta_limit = channel.qos, channel.qos.can_consume, c.app.conf.worker_eta_task_limit
        if c.connection.transport.driver_type != 'redis':
            raise NotImplementedError('only on Redis')
        channel._in_poll  # pylint: disable=pointless-statement

        def can_consume() -> bool:
            if channel._in_poll:
                return True
            if self.closing:
                return False
            if self.policy != 'Fair':
                return bool(allowed())
            return len(state.reserved_requests) < self.slots() \
                and not (eta_limit and len(self.scheduled()) >= eta_limit)
        qos.can_consume = can_consume

    def slots(self) -> int:
        """How many tasks run at once. gevent's num_processes is (before 5.7) what runs now, so its limit counts."""
        worker = self.worker
        prefork = getattr(worker.pool, 'uses_semaphore', False)
        return int(getattr(worker, 'max_concurrency', None) or (worker.pool.num_processes if prefork else worker.pool.limit))

    def hook_loop(self, hub: Any) -> None:
        """Threads end tasks outside the loop, which then sleeps up to 2 s (kombu < 5.7): a socket wakes it."""
        if getattr(self.worker.pool, 'uses_semaphore', False):
            return
        if self._waker is None:
            self._waker, self._woken = socket.socketpair()
            self._waker.setblocking(False)
            self._woken.setblocking(False)
        hub.add_reader(self._woken.fileno(), lambda *_: self._woken.recv(4096))

    def wake(self) -> None:
        """A slot is free: let the loop ask for the next message now."""
        if self._waker is not None:
            try:
                self._waker.send(b'.')
            except BlockingIOError:
                pass  # enough waking bytes are waiting
        elif getattr(self.worker.pool, 'is_green', False) and not self.closing:
            channel = self.consumer.task_consumer.channel
            connected = getattr(channel.client.connection, '_sock', None) is not None
            if connected and not channel._in_poll and channel.qos.can_consume():
                channel._brpop_start()

    # -- what the operator is told ----------------------------------------------------------------------------------

    def report(self) -> Dict[str, Any]:
        """The ``muster`` field of a heartbeat. What is not known is absent."""
        c = self.consumer
        running = snapshot(state.active_requests)
        held = [request for request in snapshot(state.reserved_requests) if request not in state.active_requests]
        held += [item[0] for bucket in snapshot(c.task_buckets.values()) if bucket for item in snapshot(bucket.contents)]
        if self.routes is not None:  # a table that is broken must show even if this worker sends nothing
            self.routes.refresh()
        known = {'pool': self.env.get('MUSTER_POOL'), 'ackMode': self.ack_mode, 'prefetch': self.policy}
        return {
            'v': 1, **{key: value for key, value in known.items() if value},
            'queues': sorted(c.app.amqp.queues.consume_from), 'slots': self.slots(),
            'running': self.by_queue(running), 'held': self.by_queue(held), 'scheduled': len(self.scheduled()),
            'problems': list(self.problems.values()),
        }

    def by_queue(self, requests: Iterable[Any]) -> Dict[str, int]:
        """Count by the queue that the message came from."""
        exchanges = {(queue.exchange.name, queue.routing_key): name
                     for name, queue in self.consumer.app.amqp.queues.consume_from.items()}

        def queue_of(request: Any) -> str:
            key = request.delivery_info.get('routing_key') or ''
            exchange = request.delivery_info.get('exchange')
            return str(exchanges.get((exchange, key), key) if exchange else key)
        return dict(Counter(map(queue_of, requests)))

    def scheduled(self) -> List[Any]:
        """Requests with an ETA that is still to come (countdown and retry too): Celery keeps them only in its timer."""
        c = self.consumer
        return [item.entry.args[0] for item in snapshot(c.timer.schedule._queue)
                if item.entry.fun in (c.apply_eta_task, c._limit_post_eta) and not item.entry.canceled]

    def activity(self) -> Tuple[bool, bool]:
        """Whether anything runs, and whether anything is held that does not run."""
        return bool(state.active_requests), len(state.reserved_requests) > len(state.active_requests)

    def changed(self, **_: Any) -> None:
        """Something was received, began or ended: tell the operator soon, if it is news. Called in any thread."""
        c = self.consumer
        if not self._armed and c is not None and not self.closing:
            self._armed = True
            if c.hub:
                c.hub.call_soon(self.arm)
            else:
                self.arm()

    def arm(self) -> None:
        """In the loop's own thread, as its timer is not made for others."""
        wait = max(SETTLE, self._told_at + BEAT_GAP - monotonic())
        self.consumer.timer.call_after(wait, self.beat)

    def beat(self, always: bool = False) -> None:
        """Send a heartbeat now, unless the last one said the same."""
        self._armed = False
        if self.consumer.heart and (always or self.activity() != self._told):
            self.attempt('heartbeat', lambda: self.consumer.heart._send('worker-heartbeat', retry=False))

    # -- the end ----------------------------------------------------------------------------------------------------

    def hand_back(self) -> None:
        """Give back at once, in order and at the head of the queue, what is here and does not run.

        Celery keeps it until the last running task has ended, which may take hours, and loses track of it if the
        pod is killed before. What runs goes on; its acknowledgement is left to Celery.
        """
        c, self.closing = self.consumer, True
        if c is None or not c.task_consumer or c.connection.transport.driver_type != 'redis':
            return
        self.attempt('last heartbeats', self.keep_beating, c)
        late: List[Any] = []  # messages that Redis has sent but nobody has read
        c.task_consumer.on_message = late.append
        c.on_task_request = state.task_ready  # an ETA or a rate limit that falls due from now on starts nothing
        if self.worker.semaphore is not None:
            self.worker.semaphore._waiting.clear()
        channel = c.task_consumer.channel
        self.attempt('reading what is on its way', self.settle, channel)
        with self.lock:
            waiting = [r for r in snapshot(state.reserved_requests) if r not in self.taken and not r.acknowledged]
            waiting += self.scheduled()
            waiting += [item[0] for bucket in c.task_buckets.values() if bucket for item in bucket.contents]
            self.given_back.update(waiting)
        tags = {message.delivery_tag for message in late}.union(r.message.delivery_tag for r in waiting)
        for tag in [tag for tag in reversed(channel.qos._delivered) if tag in tags]:
            channel.qos.restore_by_tag(tag)  # RPUSH: from the last to the first, so the first is served next
            VirtualQoS.ack(channel.qos, tag)  # or Celery would restore it a second time at exit
        for request in waiting:
            state.task_ready(request)
        logger.info('muster: handed back %d messages, %d tasks still run', len(tags), len(state.active_requests))

    def settle(self, channel: Any) -> None:
        """Wait (about a second at most) for the answer of the BRPOP that is out: it may carry a message."""
        if channel._in_poll and channel.client.connection.can_read(timeout=min(channel.brpop_timeout or 1, 2) + 0.5):
            try:
                channel._brpop_read()
            except Empty:
                pass

    def keep_beating(self, c: Any) -> None:
        """Celery says worker-offline at SIGTERM, hours before the last task ends: say the truth until then."""
        heart, stop, ended = c.heart, c.heart.stop, threading.Event()

        def beats() -> None:
            while not ended.wait(heart.interval):
                self.attempt('last heartbeats', lambda: heart._send('worker-heartbeat', retry=False))
        thread = threading.Thread(target=beats, name='muster-heart', daemon=True)

        def stop_later() -> Any:
            if thread.ident is None:  # the consumer stops; its second call is when the worker has stopped
                c.timer.cancel(heart.tref)
                thread.start()
                return heart
            ended.set()
            thread.join(heart.interval)
            return stop()
        heart.stop = stop_later


class PoolHooks(bootsteps.Step):
    """In the worker's blueprint, between its pool and its consumer."""

    requires = ('celery.worker.components:Pool',)

    def create(self, parent: Any) -> None:
        muster.attempt('pool', muster.hook_pool, parent)


class ConsumerHooks(bootsteps.StartStopStep):
    """In the consumer's blueprint, after it can receive tasks and before its loop runs; again at each reconnect."""

    requires = ('celery.worker.consumer.tasks:Tasks',)

    def start(self, parent: Any) -> None:
        muster.attempt('consumer', muster.on_consumer, parent)

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:
        """Called by the loop itself, which forgets all readers when it starts again."""
        muster.attempt('waking the loop', muster.hook_loop, hub)


def snapshot(items: Iterable[Any]) -> List[Any]:
    """A copy of what other threads change meanwhile."""
    while True:
        try:
            return list(items)
        except RuntimeError:  # changed size during iteration
            continue


def set_conf(app: Any, key: str, value: Any) -> None:
    """Set a setting above all others, also if the app has it under a prefix or an old name."""
    app.conf[key] = value
    if app.conf[key] != value:
        for name in app.conf._to_keys(key):
            app.conf.changes[name] = value


muster = Muster(os.environ)
if os.environ.get('MUSTER_POOL') and os.environ.get('CELERY_BROKER_URL'):
    # An app's broker_read_url beats CELERY_BROKER_URL, and the worker would consume from a broker the pool is not on.
    os.environ.setdefault('CELERY_BROKER_READ_URL', os.environ['CELERY_BROKER_URL'])
signals.worker_init.connect(muster.on_worker_init)
signals.worker_process_init.connect(muster.on_process_init)
signals.task_received.connect(muster.changed)
