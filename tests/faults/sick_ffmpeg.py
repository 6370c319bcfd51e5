"""An ffmpeg that stalls, dies, writes nonsense or does not run at all."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from fake_ffmpeg import BEHAVIOURS, STALLING, write_fake_ffmpeg
from interrupted import CODES, signal_after
from trial import Trial
from workbench import Workbench, locate

FRAME_BYTES = 48 * 48 * 3
STALL_OPTION = "--stall-timeout"
FAILURES = frozenset({4, 6})


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return a run with a sick ffmpeg; one that stalls is met by a signal or by the program's own patience."""
    if rng.random() < 0.1:
        return _no_ffmpeg(workbench, folder, rng)
    behaviour = rng.choice(BEHAVIOURS)
    after_bytes = rng.randrange(0, 7) * FRAME_BYTES + rng.choice((0, 1, 100))
    script = write_fake_ffmpeg(folder / "ffmpeg", behaviour, after_bytes, rng.randrange(1000))
    arguments = [*locate(workbench, "clip.mp4", "--out", "out/track.gpx", "--out", "out/track.csv")]
    codes, act, fault = FAILURES, None, f"ffmpeg {behaviour} after {after_bytes} bytes"
    if behaviour in STALLING:
        if STALL_OPTION in workbench.options and rng.random() < 0.5:
            arguments += [STALL_OPTION, "2"]
        else:
            number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL))
            codes, act = frozenset({CODES[number], *FAILURES}), signal_after(1.5 * workbench.run_s, number)
            fault += f", then {signal.Signals(number).name}"
    elif behaviour in ("garbage pixels", "slow", "chatters"):
        codes = FAILURES | {0, 8}
    elif behaviour in ("stops early", "extra pictures"):
        codes = FAILURES | {0, 8}  # a picture more or less may be the whole difference
    estimated = behaviour not in ("garbage pixels", "stops early", "extra pictures", "dies")
    return Trial("ffmpeg", fault, arguments, folder / "work" / "clip.mp4", codes,
                 environment={"VIDTAG_FFMPEG": str(script)}, act=act, is_clip_changed=not estimated)  # fmt: skip


def _no_ffmpeg(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    path = folder / "ffmpeg"
    kind = rng.choice(("missing", "a folder", "not executable", "not a program", "silent", "old"))
    if kind == "a folder":
        path.mkdir()
    elif kind != "missing":
        answer = {"silent": "exit 0", "old": "echo ffmpeg version 2.8; echo 'libavutil 54. 31.100 / 54. 31.100'"}
        path.write_text(f"#!/bin/sh\n{answer.get(kind, '')}\n" if kind in answer else "no program")
        path.chmod(0o600 if kind == "not executable" else 0o700)
    return Trial("ffmpeg", f"ffmpeg is {kind}", locate(workbench, "clip.mp4", "--out", "out/track.gpx"),
                 folder / "work" / "clip.mp4", frozenset({6}), environment={"VIDTAG_FFMPEG": str(path)})  # fmt: skip
