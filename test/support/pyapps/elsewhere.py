"""An app that names a broker to read from, which Celery prefers to CELERY_BROKER_URL, and that forbids new queues."""

import gate
from celery import Celery
from kombu import Queue

app = Celery(
    "elsewhere",
    broker_read_url="redis://127.0.0.1:1/0",
    task_create_missing_queues=False,
    task_queues=[Queue("work"), Queue("celery")],
)
gated = app.task(name="work.gated")(gate.gated)


@app.task(name="work.send")
def send(name):
    app.send_task("reports.made", (name,))
