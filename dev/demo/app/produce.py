"""Sends the demo's load: `produce.py RUN COUNT PER_SECOND`, 90 % short and 10 % long tasks at random moments.

The same seed gives the same load to every set-up that is compared.
"""

import random
import sys
import time

from demo_app import long, now, short

run, count, per_second = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
rng = random.Random(7)
due = time.monotonic()
for _ in range(count):
    due += rng.expovariate(per_second)
    kind = short if rng.random() < 0.9 else long
    time.sleep(max(0.0, due - time.monotonic()))
    kind.delay(run, now())
