"""An ordinary Celery application. It imports nothing of Muster and runs without it."""

import json
import os
import time

from celery import Celery

app = Celery("shop", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0"))
app.conf.task_ignore_result = True

# A producer sends each task to the right queue by mounting the routing table that Muster keeps: it is in the form of
# Celery's own task_routes setting. Workers need no such line; Muster gives them the table itself.
ROUTES_FILE = os.environ.get("ROUTES_FILE", "")
if os.path.exists(ROUTES_FILE):
    with open(ROUTES_FILE) as file:
        app.conf.task_routes = json.load(file)


@app.task(name="thumbnails.make")
def make_thumbnail(seconds: float = 0.02) -> None:
    """A short task: somebody is waiting for it."""
    time.sleep(seconds)


@app.task(name="reports.build")
def build_report(seconds: float = 2.0) -> None:
    """A long task: nobody minds when it takes its time."""
    time.sleep(seconds)
