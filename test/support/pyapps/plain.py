"""Settings as keyword arguments; tasks bound at import."""

import gate
from celery import Celery

app = Celery("plain", task_acks_late=gate.OWN_ACKS_LATE, worker_prefetch_multiplier=gate.OWN_PREFETCH)
gated = app.task(name="work.gated")(gate.gated)
quick = app.task(name="work.quick")(gate.quick)
limited = app.task(name="work.limited", rate_limit="1/h")(gate.quick)


@app.task(name="work.send")
def send(name):
    """A worker that sends: to whatever queue its routes say."""
    app.send_task("reports.made", (name,))


@app.task(name="own.made")
def own(name):
    pass


@app.task(name="reports.made")
def made(name):
    pass
