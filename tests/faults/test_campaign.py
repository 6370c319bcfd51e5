"""The campaign in small: a few runs of every kind, on every change. A night of it is ``make faults``."""

from __future__ import annotations

import json

import campaign
import pytest
from campaign import KINDS, main, run_campaign
from workbench import prepare_workbench

SEED = 11
NUMBERS = {
    "signals": (1, 3),  # SIGKILL before a file is written, SIGHUP between files over an earlier set
    "clips": (0, 4),  # flipped bits, blocks in another order
    "races": (0, 2),  # an output appears, the input is another one while it is hashed
    "names": (5, 6),  # with --debug, with line breaks and shell
    "models": (1, 3),  # a graph of garbage, a number that no model has
    "galleries": (1, 2),  # infinity in a row, a size that is not the file's
    "ffmpeg": (0, 1, 2, 5),
    "streams": (1, 6),  # a full stdout, a table in latin-1
    "limits": (1, 3),  # files that may not grow, few handles
}
"""Runs of each kind whose faults differ."""


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    return prepare_workbench(tmp_path_factory.mktemp("faults") / "workbench")


def test_nothing_is_found_in_a_small_campaign(workbench, tmp_path):
    found = []
    for kind in KINDS:
        for run in run_campaign(workbench, tmp_path / kind, SEED, NUMBERS[kind], (kind,)):
            again = f"python tests/faults/campaign.py --seed {SEED} --kinds {kind} --only {run.number}"
            found += [(run.trial.fault, finding.kind, finding.seen, again) for finding in run.findings]
    assert found == []


def test_a_run_is_repeated_by_its_number(workbench, tmp_path):
    first, second = (
        next(iter(run_campaign(workbench, tmp_path / name, 3, [5], ("clips",)))) for name in ("first", "second")
    )
    assert first.trial.fault == second.trial.fault
    assert first.outcome.exit_code == second.outcome.exit_code


def test_the_command_counts_and_logs_its_runs(workbench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "prepare_workbench", lambda folder: workbench)
    (tmp_path / "out").mkdir()
    assert main(["--runs", "1", "--seed", "3", "--kinds", "names", "--out", str(tmp_path / "out")]) == 0
    assert "1 runs, 0 with findings" in capsys.readouterr().out
    (line,) = (tmp_path / "out" / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "names"
