"""One run of the real command line under a fault: what is done to it, and what came of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
INJECTION = Path(__file__).resolve().parent / "injection"

MARK = "VIDTAG_FAULT_TRIAL"
"""Environment variable that every process of a trial inherits, by which those that outlive it are found."""

Stream = Literal["file", "closed", "full", "gone", "null"]
"""What a standard stream leads to: a file that is read afterwards, nothing, /dev/full, a pipe without a reader."""

STRANGER = b"a file of somebody else"
"""What a file holds that must be left alone; one of that content counts as no output."""

Act = Callable[[subprocess.Popen[bytes]], None]
"""What happens while the program runs, in a thread of its own."""

SURVIVAL_GRACE_S = 3.0
"""In this time after the program's end its ffmpeg has ended too."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A command line, the fault, and which exit codes are right then.

    ``plan`` is that of ``injection/sitecustomize.py``. ``companions`` are command lines started at the same moment.
    ``has_old_set`` says that a complete set of outputs was there before, which must not get lost; ``writes`` that the
    run writes files. ``clip`` is the evidence; ``is_clip_changed`` that the fault changes it. ``reruns`` asks for the
    same command without the fault afterwards. ``expected_frames`` are in the clip as its container states it: a record
    of fewer says so. ``stranger`` is a file of somebody else that appears meanwhile and must stay.
    """

    kind: str
    fault: str
    arguments: Sequence[str]
    clip: Path
    codes: frozenset[int]
    writes: bool = True
    has_old_set: bool = False
    is_clip_changed: bool = False
    reruns: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    stdin: Stream = "null"
    stdout: Stream = "file"
    stderr: Stream = "file"
    plan: Sequence[Mapping[str, Any]] = ()
    act: Act | None = None
    companions: Sequence[Sequence[str]] = ()
    stranger: Path | None = None
    expected_frames: int | None = None
    time_limit_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial. ``survivors`` are the command lines of processes that outlived the program."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    wall_s: float
    is_timed_out: bool
    survivors: tuple[str, ...]
    companion_codes: tuple[int, ...]
    rerun_code: int | None = None
    rerun_stderr: bytes = b""


def run_trial(trial: Trial, folder: Path, time_limit_s: float) -> Outcome:
    """Return what came of a trial run in ``folder``, its working folder ``folder/work``, its home ``folder/home``."""
    environment = _environment(trial, folder)
    others = [_start(trial, arguments, folder, environment, f"companion{number}")
              for number, arguments in enumerate(trial.companions)]  # fmt: skip
    started_s = time.monotonic()
    process = _start(trial, trial.arguments, folder, environment, "program")
    actor = None
    if trial.act is not None:
        actor = threading.Thread(target=trial.act, args=(process,), daemon=True)
        actor.start()
    is_timed_out = not _ends_in_time(process, time_limit_s * trial.time_limit_factor)
    wall_s = time.monotonic() - started_s
    companions_late = [not _ends_in_time(other, time_limit_s) for other in others]
    if actor is not None:
        actor.join()
    survivors = _end_survivors(environment[MARK])
    outcome = Outcome(
        process.returncode,
        _read(folder / "program.stdout"),
        _read(folder / "program.stderr"),
        wall_s,
        is_timed_out or any(companions_late),
        survivors,
        tuple(other.returncode for other in others),
    )
    return _with_rerun(trial, folder, outcome, time_limit_s) if trial.reruns else outcome


def _with_rerun(trial: Trial, folder: Path, outcome: Outcome, time_limit_s: float) -> Outcome:
    import dataclasses

    plain = dataclasses.replace(trial, plan=(), limits={}, stdout="file", stderr="file", environment={})
    process = _start(plain, plain.arguments, folder, _environment(plain, folder), "rerun")
    is_late = not _ends_in_time(process, time_limit_s)
    return dataclasses.replace(
        outcome, is_timed_out=outcome.is_timed_out or is_late, rerun_code=process.returncode,
        rerun_stderr=_read(folder / "rerun.stderr"),
    )  # fmt: skip


def base_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which everything the program keeps is below ``folder``."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder / "home"), "VIDTAG_HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"), "LC_ALL": "C.UTF-8", "PYTHONPATH": f"{INJECTION}{os.pathsep}{ROOT}",
    }  # fmt: skip


def program(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs this checkout's program."""
    return [sys.executable, "-m", "vidtag_cli", *arguments]


def _environment(trial: Trial, folder: Path) -> dict[str, str]:
    plan = {"VIDTAG_FAULT_PLAN": json.dumps(list(trial.plan))} if trial.plan else {}
    return {**base_environment(folder), MARK: str(folder), **plan, **trial.environment}


def _start(
    trial: Trial, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], name: str
) -> subprocess.Popen[bytes]:
    streams = dict(enumerate((trial.stdin, trial.stdout, trial.stderr)))
    opened = {number: _open_stream(kind, folder / f"{name}.{('stdin', 'stdout', 'stderr')[number]}", number)
              for number, kind in streams.items()}  # fmt: skip

    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        for kind, value in trial.limits.items():
            resource.setrlimit(kind, (value, value))
        for number, kind in streams.items():
            if kind == "closed":
                os.close(number)

    try:
        return subprocess.Popen(
            program(arguments), cwd=folder / "work", env=dict(environment), stdin=opened[0], stdout=opened[1],
            stderr=opened[2], preexec_fn=prepare, start_new_session=True,
        )  # fmt: skip
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _open_stream(kind: Stream, file: Path, number: int) -> int:
    if kind == "file" and number > 0:
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if kind == "full":
        return os.open("/dev/full", os.O_RDWR)
    if kind == "gone":
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    return os.open(os.devnull, os.O_RDWR)


def _ends_in_time(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def _end_survivors(mark: str) -> tuple[str, ...]:
    """Return the processes of a trial that do not end by themselves within the grace, and end them."""
    until_s = time.monotonic() + SURVIVAL_GRACE_S
    while (survivors := _marked_processes(mark)) and time.monotonic() < until_s:
        time.sleep(0.05)
    for pid in survivors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return tuple(survivors.values())


def _marked_processes(mark: str) -> dict[int, str]:
    entry = f"{MARK}={mark}".encode()
    marked = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                marked[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ")[:200].decode("latin-1")
                )
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return marked


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
