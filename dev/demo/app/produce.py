"""Sends the demo's load: `produce.py RUN TASKS SECONDS WORKERS`. 90 % short and 10 % long tasks at random moments.

The seed is fixed: every set-up that is compared gets the same tasks in the same order at the same moments. Before it
counts, all workers must answer, and run the same kind of load for some seconds, so that no set-up is measured while it
starts.
"""

import random
import sys
import time

import celery
from demo_app import app, long, now, short, store

SEED = 7
WARM_UP_SECONDS = 4.0
PATIENCE_SECONDS = 90


def wait_until(what: str, is_true) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {PATIENCE_SECONDS} s")
        time.sleep(0.1)


def send(run: str, tasks: int, seconds: float, said=lambda sent: None) -> None:
    rng = random.Random(SEED)
    kinds = [long] * (tasks // 10) + [short] * (tasks - tasks // 10)
    rng.shuffle(kinds)
    moments = sorted(rng.uniform(0, seconds) for _ in kinds)
    began = time.monotonic()
    for sent, (kind, moment) in enumerate(zip(kinds, moments), start=1):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        kind.delay(run, now())
        said(sent)


def warm_up(run: str, tasks: int, workers: int) -> None:
    wait_until(f"an answer of {workers} workers", lambda: len(app.control.ping(timeout=0.5, limit=workers)) >= workers)
    send(run, tasks, WARM_UP_SECONDS)
    wait_until("the end of the warm-up tasks", lambda: store().llen(f"demo:{run}:done") >= tasks)


def main(run: str, tasks: int, seconds: float, workers: int) -> None:
    warm_up(f"{run}:warm-up", int(tasks * WARM_UP_SECONDS / seconds), workers)
    about = f"demo:{run}:about"

    def say(sent: int) -> None:
        # Only for whoever watches; saying it each time would cost a round trip a task.
        if sent % 10 == 0 or sent == tasks:
            store().hset(about, "sent", sent)

    store().hset(about, mapping={"celery": celery.__version__, "sent": 0})
    send(run, tasks, seconds, say)


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
