"""Tasks of the apps beside this file. They know nothing of Muster.

A gated task notes that it started, waits until a file appears, and notes that it ended: a test opens the gate when it
has seen what it wanted to see, and no time is guessed. Files, not Redis, so that tasks outlive a Redis that restarts.
"""

import os
import time

# What the app itself wants, which the pool must overrule.
OWN_ACKS_LATE = os.environ.get("OWN_ACKS_LATE") == "1"
OWN_PREFETCH = 7


def gated(name):
    folder = os.environ["GATE_DIR"]
    note(folder, "started", name)
    while not os.path.exists(os.path.join(folder, "open")):
        time.sleep(0.02)
    note(folder, "ended", name)


def quick(name):
    note(os.environ["GATE_DIR"], "ended", name)


def note(folder, what, name):
    # One write of one line: atomic, from any number of processes.
    with open(os.path.join(folder, what), "a") as file:
        file.write("%s\n" % name)
