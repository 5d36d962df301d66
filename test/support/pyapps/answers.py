"""Tasks with results, for clients that are not Python. They know nothing of Muster."""

import os

import gate
from celery import Celery

app = Celery("answers", backend=os.environ["ANSWERS_BACKEND"])


@app.task(name="answers.add")
def add(a, b, scale=1):
    return (a + b) * scale


@app.task(name="answers.echo")
def echo(value):
    return value


@app.task(name="answers.describe")
def describe(value):
    """What Python sees."""
    return "%s %r" % (type(value).__name__, value)


@app.task(name="answers.fail")
def fail(message):
    raise ValueError(message, 7)


@app.task(name="answers.gated")
def gated(name):
    gate.gated(name)
    return name
