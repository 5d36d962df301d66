"""Reads with the installed Celery what Muster wrote: stdin and stdout are JSON.

`{"pairs": [[celery's message, ours], …], "results": [result, …], "replies": [[request, reply], …]}` gives
`{"pairs": [what differs or null, …], "results": [[state, repr], …], "requests": […], "replies": […]}`.
"""

import json
import sys

from celery import Celery
from celery.exceptions import CeleryError
from kombu import Connection
from kombu.transport.virtual.base import Base64, Message
from kombu.utils.json import loads

app = Celery("reader", broker="memory://", backend="cache+memory://")


class Channel:
    """What kombu's message needs of its channel."""

    def decode_body(self, body, encoding=None):
        return Base64().decode(body) if encoding == "base64" else body


def opened(raw):
    message = Message(payload=loads(raw), channel=Channel(), accept={"application/json"})
    return {
        "headers": message.headers,
        "properties": message.properties,
        "delivery_info": message.delivery_info,
        "content": [message.content_type, message.content_encoding],
        "body": message.decode(),
    }


def difference(first, second, path=""):
    """The first place in which two values differ, types included, or None."""
    if type(first) is not type(second):
        return "%s: %r is not %r" % (path, first, second)
    if isinstance(first, dict):
        for key in {**first, **second}:
            if key not in first or key not in second:
                return "%s.%s is on one side only" % (path, key)
            found = difference(first[key], second[key], "%s.%s" % (path, key))
            if found:
                return found
        return None
    if isinstance(first, list):
        if len(first) != len(second):
            return "%s: %d and %d items" % (path, len(first), len(second))
        for i, (one, other) in enumerate(zip(first, second)):
            found = difference(one, other, "%s[%d]" % (path, i))
            if found:
                return found
        return None
    # NaN is not equal to itself; -0.0 is equal to 0.0.
    return None if repr(first) == repr(second) else "%s: %r is not %r" % (path, first, second)


def raised(payload):
    """What a client gets for a stored result: its state, and the value or the exception."""
    meta = app.backend.decode_result(payload)
    state, result = meta["status"], meta["result"]
    if isinstance(result, BaseException):
        result = app.backend.exception_to_python(result)
        try:
            raise result
        except Exception as exc:
            return [state, "%s.%s%r" % (type(exc).__module__, type(exc).__name__, exc.args)]
    return [state, repr(result)]


asked = json.load(sys.stdin)
json.dump(
    {
        "pairs": [difference(opened(one), opened(other)) for one, other in asked.get("pairs", [])],
        "results": [raised(payload) for payload in asked.get("results", [])],
        "bodies": [repr(opened(raw)["body"]) for raw in asked.get("bodies", [])],
    },
    sys.stdout,
)
