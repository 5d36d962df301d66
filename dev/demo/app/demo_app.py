"""The demo's Celery application: two kinds of task that note how long they waited. It knows nothing of Muster.

Every task notes its wait itself, in a Redis list: from the moment it was sent to the moment it started, both read from
Redis's own clock, so that no two machines' clocks are compared.
"""

import json
import os
import time

import redis
from celery import Celery

BROKER_URL = os.environ["CELERY_BROKER_URL"]
app = Celery("demo", broker=BROKER_URL)
app.conf.task_ignore_result = True

# A producer loads Muster's routing table, which has the form of Celery's task_routes setting.
ROUTES_FILE = os.environ.get("ROUTES_FILE", "")
if ROUTES_FILE:
    with open(ROUTES_FILE) as file:
        app.conf.task_routes = json.load(file)

_store = None


def store() -> redis.Redis:
    """One connection a process, made on first use: a connection may not be shared over fork()."""
    global _store
    if _store is None:
        _store = redis.Redis.from_url(BROKER_URL)
    return _store


def now() -> float:
    """Seconds since the epoch on Redis's clock."""
    seconds, micros = store().time()
    return seconds + micros / 1e6


def note(run: str, kind: str, sent: float, seconds: float) -> None:
    started = now()
    time.sleep(seconds)
    store().rpush(f"demo:{run}:done", json.dumps({"kind": kind, "sent": sent, "started": started, "ended": now()}))


@app.task(name="short.run")
def short(run: str, sent: float) -> None:
    note(run, "short", sent, 0.02)


@app.task(name="long.run")
def long(run: str, sent: float) -> None:
    note(run, "long", sent, 2.0)
