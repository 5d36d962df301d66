"""A plain Celery producer: it knows the names of the tasks and their queue, and nothing of Muster."""

import os
import sys

from celery import Celery

redis = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/healthz"

app = Celery(broker=redis, backend=redis)
app.conf.task_default_queue = "node"

page = app.send_task("pages.measure", [url])
primes = app.send_task("primes.count", [100_000])
print(f"{url}: {page.get(timeout=60)}")
print(f"{primes.get(timeout=60)} primes below 100000")
