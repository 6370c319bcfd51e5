"""What must hold after every run, whatever was done to it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree
from trial import STRANGER, Outcome, Trial

from vidtag_cli.commands.app import EXIT_CODES

DOCUMENTED = frozenset(int(code) for codes, _ in EXIT_CODES for code in codes.split(","))
"""Exit codes of ``vidtag --help``."""

BUG, KILLED = 1, -9
"""A signal that comes before the program has begun, or after its end, kills the interpreter: a shell sees 128 and its
number, as it does when the program ends itself.
"""
RESULTS = frozenset({0, 8, 9})
RAW_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
TRACEBACK_ALLOWED_BY = "--debug"
SEEN_IN_BUGS = (b"Traceback (most recent call last)", b"this is a bug", b"Warning: ", b"Fatal Python error")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: its class, by which findings are counted, and what was seen."""

    kind: str
    seen: str


def judge(
    trial: Trial, outcome: Outcome, folder: Path, clip_sha256: str, estimates: Mapping[str, list[Any]]
) -> list[Finding]:
    """Return what is wrong after a trial in ``folder``; ``clip_sha256`` is the hash of the clip before it."""
    findings = [*_ending(trial, outcome), *_speech(trial, outcome), *_json_answer(trial, outcome)]
    findings += _outputs(trial, outcome, folder, estimates)
    findings += _leftovers(trial, outcome, folder)
    if not trial.is_clip_changed and _sha256(trial.clip) != clip_sha256:
        findings.append(Finding("evidence changed", f"{trial.clip.name} is not what it was"))
    return findings


def _ending(trial: Trial, outcome: Outcome) -> Iterator[Finding]:
    if outcome.is_timed_out:
        yield Finding("hangs", f"still running after {outcome.wall_s:.0f} s")
        return
    for code in (outcome.exit_code, *outcome.companion_codes, *([outcome.rerun_code] if outcome.rerun_code else [])):
        if (
            code == BUG
            and outcome.stderr.rstrip().endswith(b"KeyboardInterrupt")
            and b"vidtag_cli" not in outcome.stderr
        ):
            continue  # Python's own start was interrupted
        if code == BUG:
            yield Finding("exit code 1", _last_line(outcome.stderr or outcome.rerun_stderr))
        elif code < 0 and code not in trial.codes and 128 - code not in trial.codes:
            yield Finding("killed by a signal", f"signal {-code}")
        elif code >= 0 and code not in DOCUMENTED:
            yield Finding("exit code that is not documented", str(code))
    if outcome.exit_code not in trial.codes and outcome.exit_code != BUG and outcome.exit_code >= 0:
        allowed = ", ".join(str(code) for code in sorted(trial.codes))
        yield Finding("wrong exit code", f"{outcome.exit_code}, not {allowed}: {_last_line(outcome.stderr)}")
    if trial.reruns and outcome.rerun_code not in RESULTS | {5, BUG}:
        yield Finding("does not run again", f"{outcome.rerun_code}: {_last_line(outcome.rerun_stderr)}")
    for survivor in outcome.survivors:
        yield Finding("process outlives the program", survivor)


def _speech(trial: Trial, outcome: Outcome) -> Iterator[Finding]:
    said = outcome.stderr + outcome.rerun_stderr
    if said.rstrip().endswith(b"KeyboardInterrupt") and b"vidtag_cli" not in said:
        said = b""  # Python's own start was interrupted
    is_debugged = TRACEBACK_ALLOWED_BY in trial.arguments or "VIDTAG_DEBUG" in trial.environment
    for text in SEEN_IN_BUGS[1:] if is_debugged else SEEN_IN_BUGS:
        if text in said:
            yield Finding("says it is a bug", _last_line(said))
            break
    seen = RAW_CONTROL.search(said) or RAW_CONTROL.search(outcome.stdout.replace(b"\r\n", b"\n"))  # lines of CSV
    if seen is not None:
        yield Finding("raw control characters", repr(seen[0]))
    if trial.stderr == "file" and outcome.exit_code in range(2, 8) and not outcome.stderr.strip():
        yield Finding("fails without a word", f"exit code {outcome.exit_code}")


def _json_answer(trial: Trial, outcome: Outcome) -> Iterator[Finding]:
    if "--json" not in trial.arguments or trial.stdout != "file" or outcome.exit_code not in (*RESULTS, *range(2, 8)):
        return
    lines = outcome.stdout.splitlines()
    try:
        answers = [json.loads(line) for line in lines]
    except ValueError:
        yield Finding("stdout is no JSON", repr(outcome.stdout[:120]))
        return
    if not answers:
        yield Finding("no JSON on stdout", f"exit code {outcome.exit_code}")
    elif "error" in answers[-1] and answers[-1]["error"]["exit_code"] != outcome.exit_code:
        yield Finding("JSON names another exit code", str(answers[-1]["error"]))


def _outputs(trial: Trial, outcome: Outcome, folder: Path, estimates: Mapping[str, list[Any]]) -> Iterator[Finding]:
    """Files are all there or none, every one can be read, and records tell the truth about them."""
    files = [path for path in sorted((folder / "work" / "out").rglob("*")) if _is_output(path)]
    came = trial.stranger is not None and not (folder / "work" / "stranger").exists()
    if came and trial.stranger is not None and trial.stranger.read_bytes() != STRANGER:
        yield Finding("file of somebody else replaced", trial.stranger.name)
    recorded: set[Path] = set()
    for path in files:
        if not _can_be_read(path):
            yield Finding("output cannot be read", path.name)
        elif path.name.endswith(".report.json"):
            record = json.loads(path.read_bytes())
            yield from _record(record, folder / "work", recorded, estimates)
            yield from _completeness(trial, record)
    tracks = {path for path in files if not path.name.endswith(".report.json")}
    if "--no-report" not in trial.arguments and tracks - recorded:
        yield Finding("track without a record", ", ".join(sorted(path.name for path in tracks - recorded)))
    is_needed = trial.writes and (trial.has_old_set or (outcome.exit_code in {0, 8} and not trial.companions))
    if is_needed and not files:
        yield Finding("outputs are missing", f"exit code {outcome.exit_code}")


def _record(
    record: dict[str, Any], work: Path, recorded: set[Path], estimates: Mapping[str, list[Any]]
) -> Iterator[Finding]:
    for output in record["outputs"]:
        path = work / _path_of(output)
        recorded.add(path)
        if not path.is_file():
            yield Finding("record of a file that is not there", path.name)
        elif _sha256(path) != output["sha256"]:
            yield Finding("record of another file", path.name)
    known = estimates.get(record["input"]["sha256_before"])
    places = [(point["frame"], point["lat"], point["lon"]) for point in record["estimates"]]
    if known is not None and places != [(point["frame"], point["lat"], point["lon"]) for point in known]:
        yield Finding("estimates are not of the recorded input", f"{len(places)} frames, {len(known)} in the clip")


def _completeness(trial: Trial, record: dict[str, Any]) -> Iterator[Finding]:
    frames = len(record["estimates"])
    is_said = _says_incomplete(record) or bool(record["input"].get("decode", {}).get("errors"))
    if trial.expected_frames is not None and frames < trial.expected_frames and not is_said:
        yield Finding("cut short without a word", f"{frames} of {trial.expected_frames} frames")


def _says_incomplete(value: Any) -> bool:
    """Return whether ``complete`` or ``is_complete`` is false anywhere in a record."""
    if isinstance(value, dict):
        said = value.get("complete", value.get("is_complete"))
        return said is False or any(_says_incomplete(inner) for inner in value.values())
    return isinstance(value, list) and any(_says_incomplete(inner) for inner in value)


def _path_of(output: Mapping[str, Any]) -> str:
    import os

    return os.fsdecode(bytes.fromhex(output["path_bytes_hex"])) if "path_bytes_hex" in output else output["path"]


def _leftovers(trial: Trial, outcome: Outcome, folder: Path) -> Iterator[Finding]:
    is_excused = outcome.exit_code == KILLED and not trial.reruns  # nobody has had the chance to clean up
    hidden = [path for name in ("work", "home", "tmp") for path in (folder / name).rglob("*") if _is_hidden(path)]
    stray = [path for path in (folder / "tmp").iterdir() if not _is_hidden(path)]
    if (hidden or stray) and not is_excused:
        yield Finding("left behind", ", ".join(str(path.relative_to(folder)) for path in [*hidden, *stray][:3]))


def _is_output(path: Path) -> bool:
    return path.is_file() and not _is_hidden(path) and path.read_bytes() != STRANGER


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".vidtag-", ".install-")) or path.name.endswith(".part")


def _can_be_read(path: Path) -> bool:
    try:
        if path.suffix in (".json", ".geojson"):
            json.loads(path.read_bytes())
        elif path.suffix in (".gpx", ".kml"):
            etree.fromstring(path.read_bytes())
        elif path.suffix == ".csv":
            rows = list(csv.reader(path.read_text("utf-8").splitlines()))
            return len({len(row) for row in rows}) == 1
    except (ValueError, etree.XMLSyntaxError):
        return False
    return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
