"""The task of the benchmark for Celery: nothing, acknowledged late, without a result."""

import os

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=16)


@app.task(name="bench.noop")
def noop() -> None:
    """Does nothing."""
