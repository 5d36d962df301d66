"""The demo's Celery application: two kinds of task that note how long they waited. It knows nothing of Muster.

Each task notes its wait itself, in a Redis list: from the moment it was sent to the moment it started, both read from
Redis's own clock, so that no two machines' clocks are compared.
"""

import json
import os
import time

import redis
from celery import Celery

BROKER_URL = os.environ["CELERY_BROKER_URL"]
SHORT_SECONDS = 0.02
LONG_SECONDS = 2.0

app = Celery("demo", broker=BROKER_URL)
app.conf.task_ignore_result = True

# Celery's own setting, from a file that whoever deploys the producer may mount.
if os.environ.get("ROUTES_FILE"):
    with open(os.environ["ROUTES_FILE"]) as file:
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


def work(run: str, kind: str, sent: float, seconds: float) -> None:
    started, began = now(), time.monotonic()
    time.sleep(seconds)
    ended = started + time.monotonic() - began
    store().rpush(f"demo:{run}:done", json.dumps({"kind": kind, "sent": sent, "started": started, "ended": ended}))


@app.task(name="short.run")
def short(run: str, sent: float) -> None:
    work(run, "short", sent, SHORT_SECONDS)


@app.task(name="long.run")
def long(run: str, sent: float) -> None:
    work(run, "long", sent, LONG_SECONDS)
