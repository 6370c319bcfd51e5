"""Whether two checkouts of this repository give the same answers to the same clips, byte for byte.

    python tests/compare_checkouts.py record BEFORE answers-before CLIP...
    python tests/compare_checkouts.py record AFTER answers-after CLIP...
    python tests/compare_checkouts.py compare answers-before answers-after

Runs ``vidtag demo`` and ``vidtag locate`` on every clip with the code of a checkout, in every format, frame by
frame and on a path, and compares exit codes, standard output, the tracks and the evidence records. Of a record only
what names the moment of the run is left out (``MOMENTS``). Exits with 1 when anything differs. Not a test of its own:
for changes that must not change behaviour, before they land.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MOMENTS = {"run": ("id", "started_utc", "finished_utc"), "input": ("stat_before", "stat_after")}
FORMATS = ("gpx", "kml", "geojson", "csv")
RUNS = {
    "frames": (),
    "path": ("--smooth", "viterbi"),
    "line": ("--geojson-shape", "line", "--fps", "2"),
    "whole": ("--shots", "whole", "--decode", "keyframes"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    record = steps.add_parser("record", help="run a checkout and keep its answers in a new folder")
    record.add_argument("checkout", type=Path)
    record.add_argument("folder", type=Path)
    record.add_argument("clips", type=Path, nargs="*")
    compare = steps.add_parser("compare", help="compare the answers in two folders")
    compare.add_argument("folders", type=Path, nargs=2)
    arguments = parser.parse_args()
    if arguments.step == "record":
        record_answers(arguments.checkout.resolve(), arguments.folder, [clip.resolve() for clip in arguments.clips])
        return 0
    return compare_answers(*arguments.folders)


def record_answers(checkout: Path, folder: Path, clips: list[Path]) -> None:
    """Run the program of a checkout in a new folder; names of outputs are relative, so that records can be equal."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as home:
        call(checkout, folder, home, "demo", "demo", "--out-dir", ".", "--json")
        for clip in clips:
            for run, options in RUNS.items():
                stem = f"{clip.stem.replace(' ', '_')}.{run}"
                outs = [part for kind in FORMATS for part in ("--out", f"{stem}.{kind}")]
                call(checkout, folder, home, stem, "locate", str(clip), "--model", "flyover", "--json", *options, *outs)


def compare_answers(before: Path, after: Path) -> int:
    """Print what differs between two folders and return 1 if anything does."""
    names = sorted({path.name for folder in (before, after) for path in folder.iterdir()})
    differing = 0
    for name in names:
        first, second = content(before / name), content(after / name)
        if first != second:
            differing += 1
            print(f"differs: {name}")
            show_difference(first, second)
    print(f"{len(names)} outputs compared, {differing} differ")
    return int(differing > 0)


def call(checkout: Path, folder: Path, home: str, name: str, *arguments: str) -> None:
    """Run the program of a checkout and keep its exit code and standard output as a file beside its outputs."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "VIDTAG_HOME": home, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "vidtag_cli", *arguments, "--quiet"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    said = f"{done.stdout}{done.stderr}".replace(str(checkout), "CHECKOUT")
    (folder / f"{name}.stdout").write_text(f"exit code {done.returncode}\n{said}")


def content(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    if not path.name.endswith(".report.json"):
        return path.read_bytes()
    record = json.loads(path.read_bytes())
    for part, names in MOMENTS.items():
        for name in names:
            record[part].pop(name, None)
    return json.dumps(record, indent=1).encode()


def show_difference(first: bytes | None, second: bytes | None) -> None:
    if first is None or second is None:
        print(f"  only {'after' if first is None else 'before'}")
        return
    for before, after in zip(first.splitlines(), second.splitlines(), strict=False):
        if before != after:
            print(f"  - {before[:200]!r}\n  + {after[:200]!r}")
            return
    print("  one is longer than the other")


if __name__ == "__main__":
    sys.exit(main())
