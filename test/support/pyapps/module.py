"""Settings in a module, Celery's own late binding switched on, tasks by shared_task."""

import gate
from celery import Celery, shared_task

app = Celery("module")
app.config_from_object("settings_plain")
gated = shared_task(name="work.gated")(gate.gated)
