"""Records what the installed Celery really writes to Redis: messages, results, events, remote control.

Run by test/support/golden.ts with a Redis of its own: `python record.py redis://127.0.0.1:port/0`. Prints one JSON object
`{"versions": …, "messages": …, "results": …, "events": …, "control": …}` whose leaves are texts exactly as they were in
Redis, except that paths and the host's name are replaced. It is its own worker (`celery -A record worker`).
"""

import base64
import datetime
import decimal
import json
import os
import platform
import socket
import subprocess
import sys
import time
import uuid

socket.gethostname = lambda: "golden"  # before Celery reads it: the host is nobody's business

import celery
import kombu
import redis
from celery import Celery, chain, chord, group
from celery.exceptions import Ignore, Reject

URL = os.environ["GOLDEN_REDIS"] if "GOLDEN_REDIS" in os.environ else sys.argv[1]
UTC = datetime.timezone.utc
ETA = datetime.datetime(2031, 5, 17, 12, 30, 15, 250000, tzinfo=UTC)


def make_app(**conf):
    # 5.3 does not give every connection back to its pool, and then waits for ever.
    new = Celery("golden", broker=URL, backend=URL)
    new.conf.update(task_default_queue="sent", broker_connection_retry_on_startup=True, broker_pool_limit=40, **conf)
    return new


app = make_app(task_send_sent_event=False, worker_send_task_events=True)


class Bad(Exception):
    pass


@app.task(name="golden.add")
def add(*args, **kwargs):
    return sum(args)


@app.task(name="golden.echo")
def echo(value=None):
    return value


@app.task(name="golden.total")
def total(parts):
    return sum(parts)


@app.task(name="golden.fail")
def fail(kind="value"):
    if kind == "own":
        raise Bad("two", 2)
    if kind == "odd":
        raise ValueError(object)
    raise ValueError("bad")


@app.task(name="golden.again", bind=True)
def again(self, *args, **kwargs):
    raise self.retry(countdown=30, exc=ValueError("later"), queue="caught")


@app.task(name="golden.parent", bind=True)
def parent(self):
    add.apply_async((1,), queue="caught")
    group(add.s(1).set(queue="caught"), add.s(2).set(queue="caught")).apply_async()
    return "parent"


@app.task(name="golden.state", bind=True, track_started=True)
def state(self):
    self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
    return "done"


@app.task(name="golden.reject")
def reject():
    raise Reject("no", requeue=False)


@app.task(name="golden.ignore")
def ignore():
    raise Ignore()


@app.task(name="golden.replace", bind=True)
def replace(self):
    return self.replace(add.s(7, 8).set(queue="caught"))


@app.task(name="golden.replacewithchain", bind=True)
def replace_with_chain(self):
    return self.replace(chain(add.s(1).set(queue="caught"), add.s(2).set(queue="caught")))


@app.task(name="golden.held", acks_late=True)
def held():
    found = redis.Redis.from_url(URL).hgetall("unacked")
    return [value.decode() for value in found.values()]


PLAIN_VALUES = [1, 1.5, 1.0, -0.0, 1e22, "text", "é 漢 😀", "\ud800", True, None, [], {}, {"a": [1, {"b": None}]}]
TYPED_VALUES = [
    datetime.datetime(2026, 11, 22, 4, 41, 24, 771708, tzinfo=UTC),
    datetime.datetime(2026, 11, 22, 4, 41, 24, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
    datetime.datetime(2026, 11, 22, 4, 41, 24),
    datetime.date(2026, 2, 28),
    datetime.time(4, 41, 24, 771708),
    datetime.time(4, 41),
    decimal.Decimal("1.10"),
    decimal.Decimal("1E+3"),
    uuid.UUID("12345678-1234-5678-1234-567812345678"),
    b"text",
    b"\xff\x00\xfe",
]
ODD_NUMBERS = [2**53, 2**53 + 1, -(2**70), float("nan"), float("inf"), float("-inf")]


def send_all():
    """What a client sends, by the sentence of its case."""
    yield "plain", lambda: add.apply_async((2, 3))
    yield "no arguments", lambda: echo.apply_async()
    yield "kwargs", lambda: add.apply_async((1,), {"x": 1, "y": "é"})
    yield "send_task", lambda: app.send_task("elsewhere.task", (1,), {"a": "b"}, task_id="not-a-uuid")
    yield "quotes in arguments", lambda: add.apply_async(("it's", 'say "x"', "a\nb\\", "it's \"x\""))
    yield "plain values", lambda: echo.apply_async((PLAIN_VALUES,))
    yield "typed values", lambda: echo.apply_async((TYPED_VALUES,))
    yield "odd numbers", lambda: echo.apply_async((ODD_NUMBERS,))
    yield "long arguments", lambda: echo.apply_async(("x" * 3000,))
    yield "eta", lambda: add.apply_async((1,), eta=ETA)
    yield "naive eta", lambda: add.apply_async((1,), eta=ETA.replace(tzinfo=None))
    yield "countdown", lambda: add.apply_async((1,), countdown=60)
    yield "expires in seconds", lambda: add.apply_async((1,), expires=120)
    yield "expires at a time", lambda: add.apply_async((1,), expires=ETA)
    yield "priority 5", lambda: add.apply_async((1,), priority=5)
    yield "time limits", lambda: add.apply_async((1,), time_limit=30, soft_time_limit=20)
    yield "shadow", lambda: add.apply_async((1,), shadow="golden.shown")
    yield "ignore_result", lambda: add.apply_async((1,), ignore_result=True)
    yield "own headers", lambda: add.apply_async((1,), headers={"tenant": "a", "trace": {"id": 1}})
    yield "argsrepr", lambda: add.apply_async((1,), argsrepr="<hidden>", kwargsrepr="<hidden>")
    yield "unknown option", lambda: add.apply_async((1,), app_id="client")
    yield "link", lambda: add.apply_async((1,), link=add.s(10))
    yield "two links", lambda: add.apply_async((1,), link=[add.s(10), echo.si("done")])
    yield "link_error", lambda: add.apply_async((1,), link_error=echo.s())
    yield "link with options", lambda: add.apply_async(
        (1,), link=add.s(10).set(queue="other", priority=3, countdown=5, expires=60)
    )
    yield "chain", lambda: chain(add.s(1), add.s(2), add.si(3)).apply_async()
    yield "chain with errback", lambda: chain(add.s(1), add.s(2)).apply_async(link_error=echo.s())
    yield "group", lambda: group(add.s(1), add.s(2)).apply_async()
    yield "chord", lambda: chord([add.s(1), add.s(2)])(total.s())
    yield "chain with a group", lambda: chain(add.s(1), group(add.s(2), add.s(3)), total.s()).apply_async()
    yield "chain that ends with a group", lambda: chain(add.s(1), group(add.s(2), add.s(3))).apply_async()
    yield "chord in a chain", lambda: chain(chord([add.s(1), add.s(2)], total.s()), add.s(5)).apply_async()
    yield "chain of chains in a group", lambda: group(chain(add.s(1), add.s(2)), chain(add.s(3), add.s(4))).apply_async()
    yield "map", lambda: add.map([1, 2]).apply_async()
    yield "starmap", lambda: add.starmap([(1, 2), (3, 4)]).apply_async()
    yield "chunks", lambda: add.chunks([(1, 2), (3, 4), (5, 6)], 2).apply_async()
    yield "chain with a map", lambda: chain(add.s(1), add.map([1, 2])).apply_async()
    yield "chain with chunks", lambda: chain(add.s(1), add.chunks([(1, 2), (3, 4)], 1)).apply_async()
    yield "signature as argument", lambda: echo.apply_async((add.s(1),))
    yield "stamped", lambda: stamped(add.s(1)).apply_async()
    yield "stamped chain", lambda: stamped(chain(add.s(1), add.s(2))).apply_async()
    yield "gzip", lambda: echo.apply_async(("x" * 2000,), compression="gzip")
    yield "bzip2", lambda: echo.apply_async(("x" * 2000,), compression="bzip2")
    yield "pickle", lambda: echo.apply_async(([1],), serializer="pickle")
    yield "protocol 1", lambda: old.send_task("golden.add", (2, 3), {"a": 1})
    yield "protocol 1 with options", lambda: old.send_task(
        "golden.add", (2,), eta=ETA, expires=ETA, time_limit=30, soft_time_limit=20, link=add.s(1), retries=2
    )


def stamped(signature):
    signature.stamp(tenant="a", level=3)
    return signature


old = make_app(task_protocol=1)


def scrub(text):
    """A text as it was, without the paths and the user of this machine. The inside of a body too."""
    for found, shown in ((sys.prefix, "/venv"), (os.path.dirname(os.path.abspath(__file__)), "/app")):
        text = text.replace(found, shown)
    try:
        message = json.loads(text)
        if message["properties"]["body_encoding"] != "base64" or "compression" in message["headers"]:
            return text
        if message["content-type"] != "application/json":
            return text
    except (ValueError, KeyError, TypeError):
        return text
    inside = base64.b64decode(message["body"]).decode()
    cleaned = scrub(inside)
    return text if cleaned == inside else text.replace(message["body"], base64.b64encode(cleaned.encode()).decode())


STEPS = ["", "\x06\x163", "\x06\x166", "\x06\x169"]


def take(client, queue):
    """All messages of a queue, oldest first, by priority."""
    found = []
    for step in STEPS:
        found += [scrub(raw.decode()) for raw in reversed(client.lrange(queue + step, 0, -1))]
        client.delete(queue + step)
    return found


def record_messages(client):
    messages = {}
    for name, send in send_all():
        send()
        messages[name] = take(client, "sent") + take(client, "other")
    return messages


class Published:
    """Everything that is published on the server, while the worker runs."""

    def __init__(self, client):
        self.client = client
        self.pubsub = client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.psubscribe("*")
        self.heard = []

    def listen(self, until, what, seconds=15):
        deadline = time.time() + seconds
        while time.time() < deadline:
            message = self.pubsub.get_message(timeout=0.1)
            if message:
                self.heard.append((message["channel"].decode(), scrub(message["data"].decode("utf-8", "replace"))))
            if until():
                return
        raise SystemExit("record.py: no end of %s; unacked: %s" % (what, self.client.hgetall("unacked")))

    def drain(self, seconds):
        deadline = time.time() + seconds
        while time.time() < deadline:
            message = self.pubsub.get_message(timeout=0.1)
            if message:
                self.heard.append((message["channel"].decode(), scrub(message["data"].decode("utf-8", "replace"))))


def run_all():
    """What a worker runs, by the sentence of its case, and whether it stores a result at the end."""
    past = datetime.datetime(2020, 1, 1, tzinfo=UTC)
    yield "success", lambda: add.apply_async((2, 3), queue="run"), "SUCCESS"
    yield "typed result", lambda: echo.apply_async((TYPED_VALUES,), queue="run"), "SUCCESS"
    yield "odd numbers as result", lambda: echo.apply_async((ODD_NUMBERS,), queue="run"), "SUCCESS"
    yield "plain values as result", lambda: echo.apply_async((PLAIN_VALUES,), queue="run"), "SUCCESS"
    yield "failure", lambda: fail.apply_async(queue="run"), "FAILURE"
    yield "failure with an exception of its own", lambda: fail.apply_async(("own",), queue="run"), "FAILURE"
    yield "failure with an odd argument", lambda: fail.apply_async(("odd",), queue="run"), "FAILURE"
    yield "wrong arguments", lambda: app.send_task("golden.fail", (1, 2, 3), queue="run"), "FAILURE"
    yield "retry", lambda: again.apply_async((1,), {"a": "b"}, queue="run", headers={"tenant": "a"}), "RETRY"
    yield "retry in a chain", lambda: chain(again.s(1).set(queue="run"), add.s(5).set(queue="caught")).apply_async(), "RETRY"
    yield "children", lambda: parent.apply_async(queue="run"), "SUCCESS"
    yield "started and an own state", lambda: state.apply_async(queue="run"), "SUCCESS"
    yield "expired", lambda: add.apply_async((1,), queue="run", expires=past), "REVOKED"
    yield "rejected", lambda: reject.apply_async(queue="run"), None
    yield "ignored", lambda: ignore.apply_async(queue="run"), None
    yield "unregistered", lambda: app.send_task("golden.nowhere", queue="run"), None
    yield "callback", lambda: add.apply_async((2, 3), queue="run", link=add.s(10).set(queue="caught")), "SUCCESS"
    yield "immutable callback", lambda: add.apply_async(
        (2, 3), queue="run", link=[add.si(10).set(queue="caught"), echo.s().set(queue="caught")]
    ), "SUCCESS"
    yield "errback", lambda: fail.apply_async(queue="run", link_error=app.signature("elsewhere.errback", queue="caught")), "FAILURE"
    yield "chain", lambda: chain(
        add.s(1).set(queue="run"), add.s(2).set(queue="caught"), add.s(3).set(queue="caught")
    ).apply_async(), "SUCCESS"
    yield "chain to a group", lambda: chain(
        add.s(1).set(queue="run"), group(add.s(2).set(queue="caught"), add.s(3).set(queue="caught"))
    ).apply_async(), "SUCCESS"
    yield "failing chain", lambda: chain(
        fail.s().set(queue="run"), add.s(2).set(queue="caught"), add.s(3).set(queue="caught")
    ).apply_async(), "FAILURE"
    yield "chord part", lambda: chord(
        [add.s(1).set(queue="run"), add.s(2).set(queue="caught")], total.s().set(queue="caught")
    ).apply_async(), None
    yield "chord", lambda: chord(
        [add.s(1).set(queue="run"), add.s(2).set(queue="run")], total.s().set(queue="caught")
    ).apply_async(), None
    yield "failing chord", lambda: chord(
        [fail.s().set(queue="run"), add.s(2).set(queue="run")],
        total.s().set(queue="caught", link_error=[app.signature("elsewhere.errback", queue="caught")]),
    ).apply_async(), None
    yield "replace", lambda: replace.apply_async(queue="run"), None
    yield "replace with a chain, in a chain", lambda: chain(
        replace_with_chain.s().set(queue="run"), add.s(9).set(queue="caught")
    ).apply_async(), None
    yield "stamped chain", lambda: stamped(
        chain(add.s(1).set(queue="run"), add.s(2).set(queue="caught"))
    ).apply_async(), "SUCCESS"
    yield "unacked", lambda: held.apply_async((), queue="run", priority=3), "SUCCESS"


def read_key(client, key):
    kind = client.type(key)
    if kind == b"zset":
        return [[scrub(member.decode()), score] for member, score in client.zrange(key, 0, -1, withscores=True)]
    if kind == b"string":
        return scrub(client.get(key).decode())
    if kind == b"set":
        return sorted((member.decode() for member in client.smembers(key)), key=lambda member: member[::-1])
    raise SystemExit("record.py: %r is a %r" % (key, kind))


def record_runs(client, heard):
    """Per case: what was published as results, what was sent on, and what lies in the keys of the chord."""
    runs = {}
    for name, send, final in run_all():
        start = len(heard.heard)
        result = send()
        while getattr(result, "parent", None):  # the result of a chain is that of its last task
            result = result.parent
        last = "celery-task-meta-%s" % result.id

        def is_over():
            if final is not None:
                if not any(final in data for channel, data in heard.heard[start:] if channel == last):
                    return False
            # Then until the worker has taken the next message, which it does when it is done with this one.
            return client.llen("run") == 0 and client.hlen("unacked") == 0

        heard.listen(is_over, name)
        heard.drain(0.4)
        chord_keys = {}
        for key in client.keys("celery-taskset-meta-*"):
            chord_keys[key.decode()] = read_key(client, key)
            client.delete(key)
        runs[name] = {
            "taskId": result.id,
            "published": [[c, d] for c, d in heard.heard[start:] if c.startswith("celery-task-meta-")],
            "sent": take(client, "caught"),
            "chordKeys": chord_keys,
        }
    saved = group(add.s(1), add.s(2)).apply_async()
    saved.save()
    runs["saved group"] = {
        "taskId": saved.id,
        "published": [],
        "sent": take(client, "sent"),
        "chordKeys": {k.decode(): read_key(client, k) for k in client.keys("celery-taskset-meta-*")},
    }
    return runs


def record_control(client, heard):
    """Requests as Celery's client publishes them, and replies as its worker sends them."""
    channel = "/%d.celery.pidbox" % client.connection_pool.connection_kwargs.get("db", 0)
    requests = {}
    cases = {
        "ping": lambda: app.control.ping(timeout=0.3),
        "ping to one": lambda: app.control.ping(destination=["worker@golden"], timeout=0.3),
        "broadcast without reply": lambda: app.control.broadcast("heartbeat"),
        "pattern": lambda: app.control.broadcast("ping", pattern="worker@*", matcher="glob"),
        "revoke": lambda: app.control.revoke("some-id", terminate=True, signal="SIGKILL"),
        "rate_limit": lambda: app.control.rate_limit("golden.add", "10/m"),
        "add_consumer": lambda: app.control.add_consumer("more", reply=True, timeout=0.3),
    }
    for name, send in cases.items():
        start = len(heard.heard)
        send()
        heard.listen(lambda: any(c == channel for c, _ in heard.heard[start:]), name)
        requests[name] = [d for c, d in heard.heard[start:] if c == channel][0]
    replies = {}
    for method, arguments in (
        ("ping", {}),
        ("nope", {}),
        ("active_queues", {}),
        ("registered", {}),
        ("query_task", {"ids": ["some-id"]}),
        ("rate_limit", {"task_name": "golden.nowhere", "rate_limit": "1/s"}),
        ("rate_limit", {"task_name": "golden.add", "rate_limit": "x"}),
        ("time_limit", {"task_name": "golden.add", "soft": 1, "hard": 2}),
        ("revoke", {"task_id": ["a", "b"]}),
        ("cancel_consumer", {"queue": "more"}),
        ("enable_events", {}),
        ("clock", {}),
        ("active", {}),
        ("reserved", {}),
        ("scheduled", {}),
        ("revoked", {}),
        ("conf", {}),
        ("stats", {}),
        ("report", {}),
        ("hello", {"from_node": "other@golden"}),
        ("pool_grow", {"n": 1}),
        ("autoscale", {"max": 3, "min": 1}),
    ):
        body = {
            "method": method,
            "arguments": arguments,
            "destination": None,
            "pattern": None,
            "matcher": None,
            "ticket": "ticket-1",
            "reply_to": {"exchange": "", "routing_key": "golden.reply"},
        }
        envelope = {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"clock": 1, "expires": time.time() + 60},
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
        client.publish(channel, json.dumps(envelope))
        _, reply = client.blpop("golden.reply", timeout=10) or (None, b"null")
        if method not in ("conf", "report", "stats"):
            replies["%s %s" % (method, json.dumps(arguments))] = scrub(reply.decode())
        elif method == "stats":
            replies["stats"] = scrub(reply.decode())
    return {"requests": requests, "replies": replies}


def record_events(heard):
    """The messages in which a type of event was first seen with its fields, with their channel."""
    kept, seen = [], set()
    for channel, data in heard.heard:
        if ".celeryev/" not in channel:
            continue
        body = json.loads(base64.b64decode(json.loads(data)["body"]))
        shapes = set()
        for event in body if isinstance(body, list) else [body]:
            shapes.add((event["type"], *("%s:%s" % (k, type(v).__name__) for k, v in event.items())))
        if not shapes <= seen:
            kept.append([channel, data])
            seen |= shapes
    return kept


def main():
    client = redis.Redis.from_url(URL)
    messages = record_messages(client)
    heard = Published(redis.Redis.from_url(URL))
    command = [sys.executable, "-m", "celery", "-A", "record", "worker", "-P", "solo", "-E", "-Q", "run"]
    command += ["-n", "worker@golden", "--loglevel", "warning", "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(
        command,
        env={**os.environ, "GOLDEN_REDIS": URL, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if "GOLDEN_QUIET" in os.environ else None,
    )
    try:
        heard.listen(lambda: any("worker.online" in channel for channel, _ in heard.heard), "the start", 40)
        runs = record_runs(client, heard)
        control = record_control(client, heard)
        heard.drain(2.5)
        worker.terminate()
        heard.listen(lambda: any("worker.offline" in channel for channel, _ in heard.heard), "the worker", 20)
        worker.wait(20)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    json.dump(
        {
            "versions": {
                "celery": celery.__version__,
                "kombu": kombu.__version__,
                "redis": redis.__version__,
                "python": platform.python_version(),
            },
            "messages": messages,
            "results": runs,
            "events": record_events(heard),
            "control": control,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
