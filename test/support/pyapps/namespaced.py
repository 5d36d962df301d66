"""Settings with a prefix, as Django projects have them, and one more set on the app itself."""

import gate
from celery import Celery

app = Celery("namespaced")
app.config_from_object("settings_django", namespace="CELERY")
app.conf.CELERY_TASK_ACKS_LATE = gate.OWN_ACKS_LATE
gated = app.task(name="work.gated")(gate.gated)


@app.task(name="work.send")
def send(name):
    for task in ("reports.made", "own.made", "other.made"):
        app.send_task(task, (name,))
