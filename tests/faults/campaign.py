"""A night of faults: the real command line, run again and again, each time with something done to it.

    python tests/faults/campaign.py --runs 1000 --seed 1 --out FOLDER

Every run has its number; what it is made of depends on the seed and the number alone. ``--only`` repeats some of them
and keeps their folders. The exit code is 0 when nothing was found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1])]

import changed_files  # noqa: E402  found by the path above
import damaged_clips  # noqa: E402
import hostile_names  # noqa: E402
import interrupted  # noqa: E402
import odd_streams  # noqa: E402
import races  # noqa: E402
import sick_ffmpeg  # noqa: E402
import small_limits  # noqa: E402
from oracle import Finding, judge  # noqa: E402
from trial import Outcome, Trial, run_trial  # noqa: E402
from workbench import Workbench, prepare_workbench  # noqa: E402

Draw = Callable[[Workbench, Path, random.Random], Trial]

KINDS: dict[str, tuple[Draw, int]] = {
    "signals": (interrupted.draw, 4),
    "clips": (damaged_clips.draw, 3),
    "races": (races.draw, 3),
    "names": (hostile_names.draw, 3),
    "models": (changed_files.draw_model, 4),
    "galleries": (changed_files.draw_gallery, 3),
    "ffmpeg": (sick_ffmpeg.draw, 3),
    "streams": (odd_streams.draw, 3),
    "limits": (small_limits.draw, 4),
}
"""Kind of fault, and how often it is drawn in comparison with the others."""

OTHER_ESTIMATES = frozenset({"ffmpeg", "models", "galleries"})
"""Kinds in which the program may rightly find something else in a clip than without a fault."""

LEAST_TIME_LIMIT_S, TIME_LIMIT_RUNS = 20.0, 8.0
"""A run that takes longer than so many seconds and so many plain runs hangs."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a campaign and what was found."""

    number: int
    trial: Trial
    outcome: Outcome
    findings: tuple[Finding, ...]
    folder: Path

    def record(self) -> dict[str, object]:
        """Return the run as a JSON object."""
        return {
            "run": self.number, "kind": self.trial.kind, "fault": self.trial.fault,
            "arguments": shlex.join(self.trial.arguments), "exit_code": self.outcome.exit_code,
            "wall_s": round(self.outcome.wall_s, 2),
            "stderr": self.outcome.stderr[-500:].decode("utf-8", "replace"),
            "findings": [{"kind": finding.kind, "seen": finding.seen} for finding in self.findings],
        }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign and print its counts; return 1 when something was found."""
    options = _options(arguments)
    out = Path(options.out or tempfile.mkdtemp(prefix="vidtag-faults-")).resolve()
    workbench = prepare_workbench(out / "workbench")
    numbers = options.only or range(options.runs)
    kinds = options.kinds.split(",") if options.kinds else list(KINDS)
    runs = []
    with (out / "runs.jsonl").open("w") as log:
        for run in run_campaign(workbench, out, options.seed, numbers, kinds, options.workers, options.seconds):
            runs.append(run)
            log.write(json.dumps(run.record()) + "\n")
            log.flush()
            if run.findings:
                _say(run, options.seed, options.kinds)
            if not run.findings and not options.only:
                shutil.rmtree(run.folder, ignore_errors=True)
    _summarize(runs, out)
    return int(any(run.findings for run in runs))


def run_campaign(
    workbench: Workbench,
    out: Path,
    seed: int,
    numbers: Iterable[int],
    kinds: Sequence[str] = tuple(KINDS),
    workers: int = 2,
    seconds: float | None = None,
) -> Iterable[Run]:
    """Yield the runs of these numbers in order; none is begun once ``seconds`` have passed."""
    until_s = None if seconds is None else time.monotonic() + seconds

    def run(number: int) -> Run | None:
        if until_s is not None and time.monotonic() > until_s:
            return None
        return run_number(workbench, out / f"run-{number}", seed, number, kinds)

    with ThreadPoolExecutor(workers) as pool:
        yield from (done for done in pool.map(run, numbers) if done is not None)


def run_number(workbench: Workbench, folder: Path, seed: int, number: int, kinds: Sequence[str]) -> Run:
    """Return the run of a number, made in ``folder``."""
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choices(kinds, [KINDS[kind][1] for kind in kinds])[0]
    workbench.lay_out(folder)
    trial = KINDS[kind][0](workbench, folder, rng)
    clip_sha256 = _sha256(trial.clip)
    outcome = run_trial(trial, folder, max(LEAST_TIME_LIMIT_S, TIME_LIMIT_RUNS * workbench.run_s))
    findings = judge(trial, outcome, folder, clip_sha256, {} if kind in OTHER_ESTIMATES else workbench.estimates)
    return Run(number, trial, outcome, tuple(findings), folder)


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", help=f"some of {','.join(KINDS)} (default: all)")
    parser.add_argument(
        "--only", type=int, nargs="+", metavar="NUMBER", help="repeat these runs and keep their folders"
    )
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, help="begin no run after this time")
    parser.add_argument("--out", help="a folder for the log and for the runs in which something was found")
    return parser.parse_args(arguments)


def _say(run: Run, seed: int, kinds: str | None) -> None:
    print(f"run {run.number} ({run.trial.kind}): {run.trial.fault!r}")
    for finding in run.findings:
        print(f"  {finding.kind}: {finding.seen!r}")
    chosen = f" --kinds {kinds}" if kinds else ""
    print(f"  again: python tests/faults/campaign.py --seed {seed}{chosen} --only {run.number}", flush=True)


def _summarize(runs: Sequence[Run], out: Path) -> None:
    codes = Counter((run.trial.kind, run.outcome.exit_code) for run in runs)
    found = Counter((run.trial.kind, finding.kind) for run in runs for finding in run.findings)
    print(f"\n{len(runs)} runs, {sum(bool(run.findings) for run in runs)} with findings; log: {out / 'runs.jsonl'}")
    for kind in KINDS:
        counts = ", ".join(f"{code}: {count}" for (k, code), count in sorted(codes.items()) if k == kind)
        if counts:
            print(f"  {kind:<10} exit codes {counts}")
    for (kind, finding), count in sorted(found.items()):
        print(f"  found: {kind:<10} {finding}: {count}")


if __name__ == "__main__":
    sys.exit(main())
