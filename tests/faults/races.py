"""What others do to the files of a run while it is under way."""

from __future__ import annotations

import random
from pathlib import Path

from trial import STRANGER, Trial
from workbench import Workbench, empty_cache, locate

MOMENTS = ({"event": "open", "contains": "clip.mp4"}, {"event": "subprocess.Popen"})
"""When the input is opened, and when a program is started: ffmpeg, to say its version and to decode."""


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return a run whose input, outputs or folders change under it."""
    return rng.choice((_swapped, _swapped, _swapped_back, _turned_to_fifo, _output_appears, _input_gone, _two_at_once,
                       _two_over_one_set, _cache_removed))(workbench, folder, rng)  # fmt: skip


def _moment(rng: random.Random) -> dict[str, object]:
    return {**rng.choice(MOMENTS), "nth": rng.choice((1, 2, 3))}


def _plain(workbench: Workbench) -> list[str]:
    return [*locate(workbench, "clip.mp4", "--out", "out/track.gpx", "--out", "out/track.geojson")]


def _swapped(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    work, moment = folder / "work", _moment(rng)
    action = [rng.choice(("rename", "overwrite")), str(work / "other.mp4"), str(work / "clip.mp4")]
    return Trial("races", f"input changed by {action[0]} at {moment}", _plain(workbench), work / "clip.mp4",
                 frozenset({0, 7, 8}), is_clip_changed=True, plan=({**moment, "action": action},))  # fmt: skip


def _swapped_back(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """The input is another one only while it is decoded."""
    work = folder / "work"
    (work / "saved.mp4").write_bytes((work / "clip.mp4").read_bytes())
    action, event = rng.choice(("rename", "overwrite")), rng.choice(MOMENTS)
    begin, end = rng.choice((1, 2)), rng.choice((2, 3, 4, 5))
    there, back = ([action, str(work / name), str(work / "clip.mp4")] for name in ("other.mp4", "saved.mp4"))
    plan = ({**event, "nth": begin, "action": there}, {**MOMENTS[0], "nth": end, "action": back})
    return Trial("races", f"input changed by {action} at {event['event']} {begin}, put back at opening {end}",
                 _plain(workbench), work / "clip.mp4", frozenset({0, 7, 8}), is_clip_changed=True,
                 plan=plan)  # fmt: skip


def _turned_to_fifo(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    moment = _moment(rng)
    clip = folder / "work" / "clip.mp4"
    return Trial("races", f"input becomes a FIFO at {moment}", _plain(workbench), folder / "work" / "other.mp4",
                 frozenset({0, 3, 4, 7, 8}), plan=({**moment, "action": ["fifo", str(clip)]},))  # fmt: skip


def _input_gone(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    moment = _moment(rng)
    clip = folder / "work" / "clip.mp4"
    return Trial("races", f"input removed at {moment}", _plain(workbench), folder / "work" / "other.mp4",
                 frozenset({0, 3, 4, 7, 8}), plan=({**moment, "action": ["remove", str(clip)]},))  # fmt: skip


def _output_appears(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    target = folder / "work" / "out" / rng.choice(("track.gpx", "track.geojson", "track.report.json"))
    stranger = folder / "work" / "stranger"
    stranger.write_bytes(STRANGER)
    plan = {
        "event": "open",
        "contains": "work/out/",
        "writes": True,
        "nth": 1,
        "action": ["rename", str(stranger), str(target)],
    }
    return Trial("races", f"{target.name} of somebody else appears before the first output", _plain(workbench),
                 folder / "work" / "clip.mp4", frozenset({0, 5, 8}), writes=False, stranger=target,
                 plan=(plan,))  # fmt: skip


def _two_at_once(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Both cold and on one set of names: one of them writes it."""
    if rng.random() < 0.5:
        empty_cache(folder)
    arguments = _plain(workbench)
    return Trial("races", "two runs at once on one set of names", arguments, folder / "work" / "clip.mp4",
                 frozenset({0, 5, 8}), companions=(arguments,))  # fmt: skip


def _two_over_one_set(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    arguments = [*_plain(workbench), "--force"]
    return Trial("races", "two runs at once with --force", arguments, folder / "work" / "clip.mp4",
                 frozenset({0, 5, 8}), companions=([*arguments, "--top-k", "3"],))  # fmt: skip


def _cache_removed(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    file = rng.choice(sorted(path for path in (folder / "home").rglob("*.*") if path.is_file()))
    return Trial("races", f"{file.name} of the cached gallery is removed", _plain(workbench),
                 folder / "work" / "clip.mp4", frozenset({0, 6, 8}),
                 plan=({"event": "open", "contains": file.name, "nth": 1,
                        "action": ["remove", str(file)]},))  # fmt: skip
