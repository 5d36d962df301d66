"""A Python worker beside Node workers: the same task names, the same files. It knows nothing of Muster."""

import os
import time

import gate
from celery import Celery

app = Celery("numbered")
app.conf.update(
    task_acks_late=True,
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("VISIBILITY_TIMEOUT", "3600")),
        # kombu's own sweep every 10 s instead of every 100 s.
        "unacked_restore_throttle": 1,
    },
)


@app.task(name="node.numbered", ignore_result=True)
def numbered(number, ms):
    folder = os.environ["GATE_DIR"]
    gate.note(folder, "started", "%d %d" % (number, os.getpid()))
    time.sleep(ms / 1000)
    gate.note(folder, "ended", number)


@app.task(name="node.gated", ignore_result=True)
def gated(name):
    gate.gated(name)
