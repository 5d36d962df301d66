"""Settings by their names from before Celery 4."""

import gate
from celery import Celery

app = Celery("oldnames")
app.conf.update(CELERY_ACKS_LATE=gate.OWN_ACKS_LATE, CELERYD_PREFETCH_MULTIPLIER=gate.OWN_PREFETCH)
gated = app.task(name="work.gated")(gate.gated)
