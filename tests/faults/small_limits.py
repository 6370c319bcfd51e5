"""Too little memory, too few file handles, files that may not grow, disks that are full, pipes for files."""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path

from trial import Trial
from workbench import Workbench, empty_cache, linked_copy, locate

MIB = 2**20
LEAST_ADDRESS_SPACE_MIB = 400
"""Below it Python itself does not come as far as the program."""


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return a command that lacks something."""
    return rng.choice((_memory, _memory, _handles, _file_size, _disk, _disk, _pipes))(workbench, folder, rng)


def _command(workbench: Workbench, folder: Path, rng: random.Random) -> tuple[list[str], bool]:
    """Return a command and whether it writes into ``out``."""
    commands = (
        (["gallery", "info", str(workbench.gallery)], False),
        (["models", "verify", str(workbench.model)], False),
        (["models", "install", str(workbench.model)], False),
        (["eval", "clip.mp4", "--truth", str(workbench.truth), "--model", str(workbench.model)], False),
        (["gallery", "build", "new", "--model", str(workbench.model), "--box", "40,10,44,14", "--spacing-km", "50"],
         False),
    )  # fmt: skip
    plain = [*locate(workbench, "clip.mp4", "--out", "out/track.gpx", "--out", "out/track.geojson")]
    return rng.choice(commands) if rng.random() < 0.3 else (plain, True)


def _memory(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    mib = rng.choice((rng.randrange(LEAST_ADDRESS_SPACE_MIB, 1600), rng.randrange(LEAST_ADDRESS_SPACE_MIB, 4000)))
    arguments, writes = _command(workbench, folder, rng)
    return Trial("limits", f"{arguments[0]} with {mib} MiB of address space", arguments, folder / "work" / "clip.mp4",
                 frozenset({0, 4, 5, 6, 8}), writes=writes, limits={resource.RLIMIT_AS: mib * MIB})  # fmt: skip


def _handles(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    count = rng.randrange(8, 40)
    arguments, writes = _command(workbench, folder, rng)
    return Trial("limits", f"{arguments[0]} with {count} file handles", arguments, folder / "work" / "clip.mp4",
                 frozenset({0, 3, 4, 5, 6, 8}), writes=writes, limits={resource.RLIMIT_NOFILE: count})  # fmt: skip


def _file_size(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    size = rng.choice((0, 1, 100, 1000, 3000, 10_000, 100_000))
    arguments, writes = _command(workbench, folder, rng)
    return Trial("limits", f"{arguments[0]} with files of at most {size} bytes", arguments,
                 folder / "work" / "clip.mp4", frozenset({0, 5, 6, 8}), writes=writes,
                 limits={resource.RLIMIT_FSIZE: size}, stdout="null", stderr="gone")  # fmt: skip


def _disk(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    event = rng.choice(("open", "os.link", "os.rename", "os.mkdir"))
    name, nth = rng.choice(("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EPERM")), rng.choice((1, 1, 2, 3))
    if rng.random() < 0.3:
        empty_cache(folder)
    arguments, writes = _command(workbench, folder, rng)
    is_lasting = rng.random() < 0.5
    plan = {
        "event": event,
        "nth": nth,
        "writes": True,
        "contains": str(folder),
        "lasting": is_lasting,
        "action": ["errno", name],
    }
    return Trial("limits", f"{arguments[0]}: {name} at {event} {nth}{' and after' * is_lasting}", arguments,
                 folder / "work" / "clip.mp4", frozenset({0, 5, 6, 8}), writes=writes, plan=(plan,))  # fmt: skip


def _pipes(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """A pipe stands where a file is read; nobody will ever write into it."""
    work = folder / "work"
    place = rng.choice(("clip", "model", "gallery", "truth", "points", "list", "config"))
    pipe = work / "pipe"
    clip, codes = work / "other.mp4", frozenset({2, 3, 6})
    if place in ("clip", "truth", "points"):
        os.mkfifo(pipe)
    commands = {
        "clip": locate(workbench, "pipe", "--out", "out/track.gpx"),
        "truth": ["eval", "clip.mp4", "--truth", "pipe", "--model", str(workbench.model)],
        "points": ["gallery", "build", "new", "--points", "pipe", "--model", str(workbench.model)],
        "model": locate(workbench, "clip.mp4", "--out", "out/track.gpx", model=work / "pipe.vidtag"),
        "gallery": locate(workbench, "clip.mp4", "--out", "out/track.gpx", "--gallery", "pipe"),
        "list": locate(workbench, "--files-from", "empty", "--out-dir", "out"),
        "config": ["locate", "clip.mp4", "--out", "out/track.gpx"],
    }
    if place == "list":
        (work / "empty").touch()
    elif place == "config":
        os.mkfifo(work / "vidtag.toml")
    elif place in ("model", "gallery"):
        source = workbench.model if place == "model" else workbench.gallery
        copy = linked_copy(source, work / ("pipe.vidtag" if place == "model" else "pipe"))
        note = copy / ("bundle.json" if place == "model" else "gallery.json")
        note.unlink()
        os.mkfifo(note)
    return Trial("limits", f"a pipe in place of the {place}", commands[place], clip, codes, writes=False)
