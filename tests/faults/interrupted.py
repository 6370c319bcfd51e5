"""Signals: at random moments, and just before the steps of writing; slow disks; what was killed runs again."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from trial import Act, Trial, base_environment, program
from workbench import Workbench, empty_cache, locate

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}
STEPS = (
    *(
        {"event": event}
        for event in ("os.link", "os.rename", "os.remove", "subprocess.Popen", "os.mkdir", "fcntl.flock")
    ),
    {"event": "open", "writes": True},
    *({"event": "open", "contains": "work/out"},) * 6,
)
"""Audit events around which files come and go. A folder is opened to be flushed after each change of a name in it, so
that its openings stand for renames, which need not be events themselves.
"""


def draw(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return a run that writes several files and is ended by a signal."""
    number = rng.choice(list(CODES))
    is_forced = rng.random() < 0.4
    is_cold = rng.random() < 0.3
    arguments = locate(workbench, "clip.mp4", *_outputs(rng), *(["--force"] if is_forced else []))
    if is_forced:
        _write_old_set(arguments, folder)
    if is_cold:
        empty_cache(folder)
    is_aimed = rng.random() < 0.6
    plan, act, moment = (), None, ""
    if is_aimed:
        step, nth = rng.choice(STEPS), rng.choice((1, 1, 2, 3, 4, 5, 6, 8, 10))
        plan = ({**step, "nth": nth, "action": ["signal", int(number)]},)
        moment = f"before {step} number {nth}"
    else:
        delay_s = rng.uniform(0.0, 1.3) * workbench.run_s
        act, moment = signal_after(delay_s, number), f"after {delay_s:.2f} s"
    if rng.random() < 0.3:
        plan = (*plan, {"event": "open", "contains": "work/out", "nth": 1, "lasting": True, "action": ["sleep", 0.2]})
    return Trial(
        "signals", f"{signal.Signals(number).name} {moment}{', over an earlier set' * is_forced}{', cold' * is_cold}",
        arguments, folder / "work" / "clip.mp4", frozenset({0, 8, CODES[number]}), has_old_set=is_forced,
        reruns=number == signal.SIGKILL, plan=plan, act=act,
    )  # fmt: skip


def signal_after(delay_s: float, number: int) -> Act:
    """Return what sends a signal to the program after so many seconds."""

    def act(process: subprocess.Popen[bytes]) -> None:
        time.sleep(delay_s)
        with suppress(ProcessLookupError):
            if process.poll() is None:
                process.send_signal(number)

    return act


def _outputs(rng: random.Random) -> list[str]:
    if rng.random() < 0.3:
        return ["--out-dir", "out", "--format", "gpx,kml,geojson,csv"]
    suffixes = rng.sample(("gpx", "kml", "geojson", "csv"), rng.choice((1, 3, 4)))
    return [part for suffix in suffixes for part in ("--out", f"out/track.{suffix}")]


def _write_old_set(arguments: object, folder: Path) -> None:
    """Write the outputs of an earlier run, with other contents."""
    subprocess.run(
        program([*arguments, "--top-k", "3", "-q"]), cwd=folder / "work", env=base_environment(folder), check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
