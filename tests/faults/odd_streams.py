"""Standard streams that are closed, full or without a reader, in encodings that cannot show every name."""

from __future__ import annotations

import os
import random
from pathlib import Path

from trial import Trial
from workbench import Workbench, locate

ENCODINGS = ("ascii", "latin-1", "ascii:strict", "utf-8:strict", "cp1252", "iso8859-15", "koi8-r")
STREAMS = ("file", "file", "closed", "full", "gone", "null")
READER_GONE = 141


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return a command with a table, JSON or files as its answer, on odd streams."""
    work = folder / "work"
    clip = work / rng.choice(("clip.mp4", "Straße 東京 😀.mp4", os.fsdecode(b"caf\xe9.mp4")))
    os.rename(work / "clip.mp4", clip)
    commands = {
        "table": [*locate(workbench, clip.name)],
        "json": [*locate(workbench, clip.name, "--json")],
        "document": [*locate(workbench, clip.name, "--out", "-", "--format", rng.choice(("gpx", "csv", "geojson")))],
        "files": [*locate(workbench, clip.name, "--out", "out/track.gpx")],
        "missing": [*locate(workbench, f"{clip.name} missing", "--json")],
        "usage": ["locate", "--no-such-option-" + clip.name],
        "help": ["locate", "--help"],
        "list": ["models", "list"],
        "info": ["models", "info", str(workbench.model)],
        "gallery": ["gallery", "info", str(workbench.gallery)],
        "eval": ["eval", clip.name, "--truth", str(workbench.truth), "--model", str(workbench.model)],
    }
    name = rng.choice(list(commands))
    stdin, stdout, stderr = rng.choice(("null", "closed")), rng.choice(STREAMS), rng.choice(STREAMS)
    codes = {"missing": {3}, "usage": {2}}.get(name, {0, 8}) | ({5} if stdout == "full" else set())
    codes |= {READER_GONE} if stdout == "gone" else set()
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.6 else ""
    environment = {"PYTHONIOENCODING": encoding} if encoding else {"LC_ALL": rng.choice(("C", "C.UTF-8", "POSIX"))}
    environment |= rng.choice(({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "1"}, {"PYTHONUNBUFFERED": "1"}))
    fault = f"{name} with stdin {stdin}, stdout {stdout}, stderr {stderr}, {environment}"
    return Trial("streams", fault, commands[name], clip, frozenset(codes), writes=name == "files", stdin=stdin,
                 stdout=stdout, stderr=stderr, environment=environment)  # fmt: skip
