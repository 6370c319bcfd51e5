"""Clips cut short, with flipped bits, with holes, with other data before, after or in place of theirs."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

from trial import Trial
from workbench import Workbench, locate

from vidtag_cli.video.ffmpeg import find_ffmpeg

STATING_DURATION = frozenset({"mkv", "avi", "flv"})
"""Containers that state their duration at their front, where it survives when the end is lost."""

SUFFIXES = ("mp4", "mkv", "mov", "ts", "avi", "flv")


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return the location of a damaged clip."""
    suffix = rng.choice(SUFFIXES)
    clip = folder / "work" / f"damaged.{suffix}"
    _wrap(folder / "work" / "clip.mp4", clip)
    damage, data = _damaged(clip.read_bytes(), rng)
    clip.write_bytes(data)
    sparse = rng.choice((["--decode", "fast"], ["--decode", "keyframes"], ["--all-frames"], [], [], []))
    arguments = locate(workbench, clip.name, "--out", "out/track.gpx", "--out", "out/track.csv", "--json", *sparse)
    knows_frames = suffix in STATING_DURATION and damage.startswith("cut") and not sparse
    return Trial("clips", f"{suffix}, {damage}", arguments, clip, frozenset({0, 3, 4, 8}),
                 expected_frames=_frames_of(workbench) if knows_frames else None)  # fmt: skip


def _frames_of(workbench: Workbench) -> int:
    return len(workbench.estimates[hashlib.sha256(workbench.clip.read_bytes()).hexdigest()])


def _wrap(source: Path, target: Path) -> None:
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-i", str(source), "-c", "copy", str(target)]
    subprocess.run(command, check=True)


def _damaged(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    kind = rng.choice(("cut", "cut", "flips", "flips", "hole", "front", "tail", "empty", "head only", "shuffled"))
    size = len(data)
    if kind == "cut":
        end = rng.randrange(1, size)
        return f"cut to {end} of {size} bytes", data[:end]
    if kind == "flips":
        count = rng.choice((1, 3, 10, 50, 300))
        changed = bytearray(data)
        within = rng.choice((200, 4000, size))
        for _ in range(count):
            changed[rng.randrange(min(within, size))] ^= 1 << rng.randrange(8)
        return f"{count} bits flipped in its first {within} bytes", bytes(changed)
    if kind == "hole":
        begin = rng.randrange(size)
        length = rng.randrange(1, size - begin + 1)
        return f"{length} zero bytes at {begin}", data[:begin] + bytes(length) + data[begin + length :]
    if kind == "front":
        return "other data before it", rng.randbytes(rng.randrange(1, 5000)) + data
    if kind == "tail":
        return "other data behind it", data + rng.randbytes(rng.randrange(1, 50000))
    if kind == "empty":
        return "empty", b""
    if kind == "head only":
        return "nothing behind its first bytes", data[: rng.randrange(1, 64)]
    blocks = [data[begin : begin + 4096] for begin in range(0, size, 4096)]
    rng.shuffle(blocks)
    return "its blocks in another order", b"".join(blocks)
