"""Canvases of an ordinary Celery app, and a program that sends them and tells what became of them.

The tasks are those of ../nodeapps/canvas.ts too, so that the same program can be run with workers of either kind and what
it tells compared: `python -m canvas` prints one JSON object, by case. Ids, times and groups' names are replaced.
"""

import gc
import json
import os
import re
import sys
import time

import redis
from celery import Celery, chain, chord, group

URL = os.environ["CANVAS_URL"]
BACKEND = os.environ.get("CANVAS_BACKEND", URL)
RAN = os.path.join(os.environ["GATE_DIR"], "ran")

app = Celery("canvas", broker=URL, backend=BACKEND)
app.conf.update(task_default_queue="work", broker_pool_limit=40, task_allow_error_cb_on_chord_header=False)


def note(task, label):
    request = task.request
    fact = {
        "label": label,
        "id": request.id,
        "root": request.root_id,
        "parent": request.parent_id,
        "index": request.group_index,
        "stamps": request.stamps if getattr(request, "stamped_headers", None) else None,
    }
    with open(RAN, "a") as file:
        file.write(json.dumps(fact) + "\n")


def call(name, args):
    return "%s(%s)" % (name, json.dumps(list(args), separators=(",", ":"))[1:-1])


@app.task(name="canvas.add", bind=True)
def add(self, *args, **kwargs):
    note(self, call("add", args))
    return sum(args) * kwargs.get("scale", 1)


@app.task(name="canvas.plain")
def plain(*args):
    """For maps: Celery calls it without a request of its own."""
    return sum(args)


@app.task(name="canvas.total", bind=True)
def total(self, parts, more=0):
    note(self, call("total", [parts, more]))
    return sum(total_of(part) for part in parts) + more


def total_of(part):
    return sum(total_of(each) for each in part) if isinstance(part, list) else part


@app.task(name="canvas.echo", bind=True)
def echo(self, *args):
    note(self, call("echo", args))
    return list(args)


@app.task(name="canvas.fail", bind=True)
def fail(self, *args):
    note(self, call("fail", args))
    raise ValueError("bad")


@app.task(name="canvas.onerror", bind=True)
def onerror(self, *args):
    note(self, "onerror(%d)" % len(args))


@app.task(name="canvas.again", bind=True, max_retries=2)
def again(self, *args):
    note(self, call("again%d" % self.request.retries, args))
    if self.request.retries < 1:
        raise self.retry(countdown=0.01)
    return sum(args)


@app.task(name="canvas.replace", bind=True)
def replace(self, *args):
    *before, signature = args
    note(self, call("replace", before))
    return self.replace(app.signature(signature))


@app.task(name="canvas.child", bind=True)
def child(self, signature):
    note(self, "child()")
    app.signature(signature).apply_async()
    return "started"


def stamped(signature, **headers):
    signature.stamp(**headers)
    return signature


def cases():
    s, si = add.s, add.si
    fails = fail.s
    yield "callback", lambda: s(1, 2).apply_async(link=s(10))
    yield "immutable callback", lambda: s(1, 2).apply_async(link=si(10))
    yield "two callbacks", lambda: s(1, 2).apply_async(link=[s(10), s(20)])
    yield "callback that is a chain", lambda: s(1, 2).apply_async(link=chain(s(10), s(20)))
    yield "callback that is a group", lambda: s(1, 2).apply_async(link=group(s(10), s(20)))
    yield "errback", lambda: fails(1).apply_async(link_error=onerror.s())
    yield "two errbacks", lambda: fails(1).apply_async(link_error=[onerror.s(), onerror.si(7)])
    yield "ignored result with a callback", lambda: s(1, 2).apply_async(link=s(10), ignore_result=True)
    yield "chain", lambda: chain(s(1, 1), s(2), s(3)).apply_async()
    yield "chain with an immutable step", lambda: chain(s(1, 1), si(2, 2), s(3)).apply_async()
    yield "chain with keywords", lambda: chain(s(1, 1), s(2, scale=10), s(3)).apply_async()
    yield "chain of chains", lambda: chain(chain(s(1, 1), s(2)), chain(s(3), s(4))).apply_async()
    yield "chain with a callback", lambda: chain(s(1, 1), s(2)).apply_async(link=s(100))
    yield "chain that fails", lambda: chain(s(1, 1), fails(), s(3), s(4)).apply_async()
    yield "chain that fails, with errback", lambda: chain(s(1, 1), fails(), s(3)).apply_async(link_error=onerror.s())
    yield "chain with a retry", lambda: chain(s(1, 1), again.s(5), s(3)).apply_async()
    yield "group", lambda: group(s(i, i) for i in range(4)).apply_async()
    yield "group of chains", lambda: group(chain(s(1), s(2)), chain(s(3), s(4))).apply_async()
    yield "group of groups", lambda: group(s(1), group(s(2), s(3)), s(4)).apply_async()
    yield "group with a failure", lambda: group(s(1), fails(2), s(3)).apply_async()
    yield "chord", lambda: chord([s(1), s(2), s(3)])(total.s())
    yield "chord with more arguments", lambda: chord([s(1), s(2)])(total.s(more=5))
    yield "chord with an immutable body", lambda: chord([s(1), s(2)])(si(7))
    yield "chord of one", lambda: chord([s(1)])(total.s())
    yield "chord with a callback", lambda: chord([s(1), s(2)], total.s()).apply_async(link=s(100))
    yield "chord of chains", lambda: chord([chain(s(1), s(2)), chain(s(3), s(4)), s(5)])(total.s())
    yield "chord with a chain as its body", lambda: chord([s(1), s(2)])(chain(total.s(), s(3)))
    yield "chord with a group as its body", lambda: chord([s(1), s(2)])(group(total.s(), echo.s()))
    yield "chord with a chord as its body", lambda: chord([s(1), s(2)])(chord([total.s(), echo.s()], echo.s()))
    yield "chord of groups", lambda: chord([group(s(1), s(2)), s(3)])(total.s())
    yield "chord of chords", lambda: chord([chord([s(1), s(2)], total.s()), s(3)])(total.s())
    yield "chord with a retry", lambda: chord([again.s(1), s(2)])(total.s())
    yield "chord that fails", lambda: chord([s(1), fails(2)])(total.s())
    yield "chord that fails, with errback", lambda: chord([s(1), fails(2)])(total.s().on_error(onerror.s()))
    yield "chord that fails in a chain", lambda: chain(chord([s(1), fails(2)], total.s()), s(5), s(6)).apply_async()
    yield "chord of chords that fails", lambda: chord([chord([s(1), fails(2)], total.s()), s(3)])(total.s())
    yield "chord of chains that fails", lambda: chord([chain(fails(1), s(2)), s(3)])(total.s())
    yield "chain to a group", lambda: chain(s(1, 1), group(s(2), s(3))).apply_async()
    yield "chain through a group", lambda: chain(s(1, 1), group(s(2), s(3)), total.s()).apply_async()
    yield "chain through two groups", lambda: chain(
        group(s(1), s(2)), group(total.s(), echo.s()), echo.s()
    ).apply_async()
    yield "chain from group to group", lambda: chain(group(s(1), s(2)), group(total.s(), echo.s())).apply_async()
    yield "chain with a chord", lambda: chain(s(1, 1), chord([s(2), s(3)], total.s()), s(4)).apply_async()
    yield "chain of chords", lambda: chain(
        chord([s(1), s(2)], total.s()), chord([s(3), s(4)], total.s()), s(5)
    ).apply_async()
    yield "group of chords", lambda: group(chord([s(1), s(2)], total.s()), chord([s(3), s(4)], total.s())).apply_async()
    yield "replaced by a task", lambda: replace.s(s(1, 2)).apply_async()
    yield "replaced by a chain", lambda: replace.s(chain(s(1, 2), s(3))).apply_async()
    yield "replaced by a group", lambda: replace.s(group(s(1, 2), s(3, 4))).apply_async()
    yield "replaced by a chord", lambda: replace.s(chord([s(1), s(2)], total.s())).apply_async()
    yield "replaced by a failing task", lambda: replace.s(fails(1)).apply_async()
    yield "replaced, with a callback", lambda: replace.s(s(1, 2)).apply_async(link=s(50))
    yield "replaced in a chain", lambda: chain(s(1, 1), replace.s(s(2, 3)), s(4), s(5)).apply_async()
    yield "replaced by a chain in a chain", lambda: chain(replace.s(chain(s(2, 3), s(4))), s(5)).apply_async()
    yield "replaced in a chord", lambda: chord([replace.s(s(1, 2)), s(3)])(total.s())
    yield "replaced by a chain in a chord", lambda: chord([replace.s(chain(s(1, 2), s(7))), s(3)])(total.s())
    yield "replaced by a group in a chord", lambda: chord([replace.s(group(s(1, 2), s(7))), s(3)])(echo.s())
    yield "replaced, body of a chord", lambda: chord([s(1), s(2)])(replace.s(si(9, 9)))
    yield "child", lambda: child.s(s(1, 2)).apply_async()
    yield "child that is a chain", lambda: child.s(chain(s(1, 2), s(3))).apply_async()
    yield "child that is a chord", lambda: child.s(chord([s(1), s(2)], total.s())).apply_async()
    yield "child that is a group", lambda: child.s(group(s(1), s(2))).apply_async()
    yield "map", lambda: plain.map([1, 2, 3]).apply_async()
    yield "starmap", lambda: plain.starmap([(1, 2), (3, 4)]).apply_async()
    yield "chunks", lambda: plain.chunks([(1, 2), (3, 4), (5, 6)], 2).apply_async()
    yield "chain with a map", lambda: chain(plain.map([1, 2]), total.s()).apply_async()
    yield "chunks in a chain", lambda: chain(s(1, 1), plain.chunks([(1, 2), (3, 4), (5, 6)], 2)).apply_async()
    yield "stamped chain", lambda: stamped(chain(s(1, 1), s(2)), color="red").apply_async()
    yield "stamped chord", lambda: stamped(chord([s(1), s(2)], total.s()), color="red").apply_async()


def settle():
    """Nothing waits, nothing runs, and that for a while."""
    client = redis.Redis.from_url(URL)
    calm = 0
    deadline = time.time() + 20
    size = -1
    while calm < 6:
        if time.time() > deadline:
            return False
        time.sleep(0.02)
        before, size = size, os.path.getsize(RAN)
        is_busy = client.llen("work") or client.hlen("unacked")
        calm = 0 if is_busy or size != before else calm + 1
    return True


def outcome(result):
    try:
        return ["value", result.get(timeout=5)]
    except Exception as error:  # every kind is an answer
        return ["error", type(error).__name__, str(error)]


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


#: Results are kept until the end: one that Python collects takes locks of the client's connection, and up to Celery 5.4 waits
#: for ever when it is collected while they are held.
KEPT = []


def tell(client, name, send):
    with open(RAN, "w"):
        pass
    try:
        result = send()
        KEPT.append(result)
    except Exception as error:  # not every version can send every canvas
        return {"refused": "%s: %s" % (type(error).__name__, error)}
    calm = settle()
    said = outcome(result)
    with open(RAN) as file:
        facts = [json.loads(line) for line in file]
    labels = {}
    for fact in facts:
        label = fact["label"] if fact["index"] is None else "%s#%d" % (fact["label"], fact["index"])
        labels.setdefault(fact["id"], label)
    metas = {}
    for key in client.scan_iter("celery-task-meta-*"):
        meta = json.loads(client.get(key))
        metas[meta["task_id"]] = meta
    named = lambda text: UUID.sub(lambda found: "<%s>" % labels.get(found.group(), "id"), text)
    # The body of a chord comes from the part that ended last, whichever that was.
    is_any = re.search("chord|through|group to group", name)
    known = lambda id: None if id is None else "<any>" if is_any else "<%s>" % labels.get(id, "id")
    return {
        "calm": calm,
        "outcome": json.loads(named(json.dumps(said))),
        "ran": sorted(
            json.dumps([f["label"], f["index"], known(f["root"]), known(f["parent"]), f["stamps"]]) for f in facts
        ),
        "results": sorted(
            named(json.dumps([meta["task_id"], meta["status"], meta["result"], meta.get("children")]))
            + str(known(meta.get("parent_id")))
            for meta in metas.values()
        ),
    }


def main(only):
    gc.disable()
    client = app.backend.client
    told = {}
    for name, send in cases():
        if only and name not in only:
            continue
        told[name] = tell(client, name, send)
        left = list(client.scan_iter("celery-task*"))
        if "refused" not in told[name]:
            told[name]["keys"] = sorted(UUID.sub("<id>", key.decode()) for key in left if b"taskset" in key)
        if left:
            client.delete(*left)
    json.dump(told, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # not by way of collecting what was kept


if __name__ == "__main__":
    main(sys.argv[1:])
