"""The application of the end-to-end tests. Its tasks wait for a word from the test, not for a time.

A `gated.run` counts itself as started, waits until the test puts a token into the list `e2e:gate`, and counts itself
as done. So a test can ask what holds while ten tasks run, however slow the machine is.
"""

import json
import os

import redis
from celery import Celery

app = Celery("e2e", broker=os.environ["CELERY_BROKER_URL"])
app.conf.task_ignore_result = True
if os.environ.get("ROUTES_FILE"):
    with open(os.environ["ROUTES_FILE"]) as file:
        app.conf.task_routes = json.load(file)

_store = None


def store() -> redis.Redis:
    """One connection a process, made on first use: a connection may not be shared over fork()."""
    global _store
    if _store is None:
        # No time limit: newer clients give up a BLPOP after 5 s, and the task with it.
        _store = redis.Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None)
    return _store


@app.task(name="gated.run", bind=True)
def gated(self) -> None:
    store().rpush("e2e:started", f"{self.request.id} {self.request.hostname}")
    store().blpop("e2e:gate", timeout=0)
    store().rpush("e2e:done", self.request.id)


@app.task(name="noted.run", bind=True)
def noted(self) -> None:
    """Says at once which pool ran it."""
    store().rpush("e2e:noted", self.request.hostname.split("@")[0])


@app.task(name="other.run", bind=True)
def other(self) -> None:
    store().rpush("e2e:noted", self.request.hostname.split("@")[0])
