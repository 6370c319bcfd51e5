"""Faults at exact moments inside the program under test, by Python's audit events.

Python imports this module at its start when the folder is on PYTHONPATH. ``VIDTAG_FAULT_PLAN`` holds a JSON list of
faults: ``event`` and ``contains`` (a part of the event's first argument) say what to wait for, ``nth`` how often, and
``action`` what happens just before it: ["signal", number], ["errno", name], ["sleep", seconds],
["rename", source, target], ["overwrite", source, target], ["fifo", path], ["remove", path]. ``lasting`` repeats the
action at every later event.
"""

import json
import os
import sys


def _install(plan):
    counts = [0] * len(plan)
    is_acting = False

    def hook(event, arguments):
        nonlocal is_acting
        if is_acting:
            return
        for index, fault in enumerate(plan):
            if event != fault["event"] or not _is_meant(fault, arguments):
                continue
            counts[index] += 1
            if counts[index] == fault["nth"] or (fault.get("lasting") and counts[index] > fault["nth"]):
                is_acting = True
                try:
                    _act(*fault["action"])
                finally:
                    is_acting = False

    sys.addaudithook(hook)


def _is_meant(fault, arguments):
    if fault["event"] == "open" and fault.get("writes") and not _opens_to_write(arguments):
        return False
    part = fault.get("contains")
    if part is None:
        return True
    named = arguments[0] if arguments else ""
    return part in (os.fsdecode(named) if isinstance(named, (str, bytes, os.PathLike)) else str(named))


def _opens_to_write(arguments):
    flags = arguments[2] if len(arguments) > 2 else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def _act(name, *values):
    import errno
    import time

    if name == "signal":
        os.kill(os.getpid(), values[0])
    elif name == "errno":
        number = getattr(errno, values[0])
        raise OSError(number, os.strerror(number))
    elif name == "sleep":
        time.sleep(values[0])
    elif name == "rename":
        os.replace(values[0], values[1])
    elif name == "overwrite":
        with open(values[0], "rb") as source, open(values[1], "r+b") as target:
            target.truncate(0)
            target.write(source.read())
    elif name == "fifo":
        os.unlink(values[0])
        os.mkfifo(values[0])
    elif name == "remove":
        os.unlink(values[0])


if os.environ.get("VIDTAG_FAULT_PLAN"):
    # Children of the program, such as an ffmpeg written in Python, are not under test.
    _install(json.loads(os.environ.pop("VIDTAG_FAULT_PLAN")))
