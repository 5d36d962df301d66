"""An app on a Celery of some later version, in which what muster_worker.py builds on is gone: each of its methods that
SABOTAGE names fails as it would when a private attribute is missing."""

import os

import plain
from celery import signals

app = plain.app


@signals.worker_init.connect
def sabotage(**_):
    import muster_worker

    for name in os.environ["SABOTAGE"].split():

        def fail(*args, **kwargs):
            raise AttributeError("no such attribute")

        setattr(muster_worker.muster, name, fail)
