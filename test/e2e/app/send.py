"""`send.py TASK COUNT`: a plain Celery producer. It names no queue: the routing table that it mounts does."""

import sys

from e2e_app import app

for _ in range(int(sys.argv[2])):
    app.send_task(sys.argv[1])
