"""The ack mode on each task, and on a base class."""

import gate
from celery import Celery, Task

app = Celery("explicit", worker_prefetch_multiplier=gate.OWN_PREFETCH)


class Base(Task):
    acks_late = gate.OWN_ACKS_LATE


gated = app.task(name="work.gated", base=Base, acks_late=gate.OWN_ACKS_LATE)(gate.gated)
