"""Names of files and folders that steer a terminal, a shell, ffmpeg or a file format, or that are no text at all."""

from __future__ import annotations

import os
import random
from pathlib import Path

from trial import Trial
from workbench import Workbench, linked_copy, locate

PIECES = (
    b"\n", b"\x1b[31m", b"\x1b]0;title\x07", b"\xff\xfe", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80", b" ", b"%03d", b"'",
    b'"', b"<b>&amp;", b"]]>", b"--json", b"-", b"concat:a|b", b"http:", b"\\", b"\x7f", b"\r", b"$(id)", b"`id`", b"*",
    b"?", b"[red]", b":smile:", b"=1+1", b"\xe2\x80\xa8", b"\xcc\x81", b"a" * 120, b"\xed\xa0\x80", b"#", b"~",
    b"vidtag: error: forged",
)  # fmt: skip
MAX_NAME_BYTES = 255


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return a run in which a name is hostile: the clip's, an output's, the model's, a list's; some end in an error."""
    work = folder / "work"
    clip = work / os.fsdecode(hostile_name(rng, ".mp4"))
    os.rename(work / "clip.mp4", clip)
    out = f"out/{os.fsdecode(hostile_name(rng, '.gpx', 180))}"
    codes, model = frozenset({0, 8}), workbench.model
    fault = rng.choice(("clip", "output", "folder", "table", "model", "missing", "no clip", "garbage", "debug"))
    arguments: list[str]
    if fault == "output":
        arguments = ["--out", out, "--json"]
    elif fault == "folder":
        arguments, codes = ["--out-dir", "out", "--format", "gpx,kml,geojson,csv", "--json"], frozenset({0, 5, 8})
    elif fault in ("table", "missing"):
        arguments = []
    elif fault == "model":
        model = linked_copy(workbench.model, work / os.fsdecode(hostile_name(rng, ".vidtag")))
        arguments = ["--out", out, "--out", "out/b.kml"]
        codes = codes if is_text(model.name) else frozenset({6})  # the libraries of the engines open no such file
    else:
        arguments = ["--out", "out/a.gpx", "--out", "out/a.kml", "--out", "out/a.geojson", "--json"]
    named = clip.name
    if fault in ("missing", "no clip"):
        named, codes = f"{named[:40]}-missing", frozenset({3})
    if fault in ("garbage", "debug"):
        clip.write_bytes(b"no video at all" * 10)
        codes = frozenset({4})
    first = ["--debug"] if fault in ("debug", "missing") else []
    command = [*first, *locate(workbench, *arguments, "--", named, model=model)]
    streams = {"PYTHONIOENCODING": rng.choice(("ascii", "latin-1"))} if rng.random() < 0.2 else {}
    return Trial("names", f"hostile {fault}: {clip.name!r}", command, clip, codes, environment=streams,
                 writes=fault not in ("table",))  # fmt: skip


def is_text(name: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


def hostile_name(rng: random.Random, suffix: str, limit: int = MAX_NAME_BYTES) -> bytes:
    """Return a name of at most ``limit`` bytes that ends in ``suffix``, made of the pieces."""
    name = b"".join(rng.choice(PIECES) for _ in range(rng.choice((1, 2, 3, 5))))
    return name[: limit - len(suffix)].replace(b"/", b"").lstrip(b".") + suffix.encode()
