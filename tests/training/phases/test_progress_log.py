"""The curves of a run: every line once, whatever was killed."""

import csv
import sys

import pytest

from training.phases.progress_log import ProgressLog, require_tensorboard
from vidtag_cli.errors import UsageError


def steps(folder):
    with (folder / "log.csv").open(newline="") as file:
        return [(row["phase"], int(row["step"])) for row in csv.DictReader(file)]


def test_lines_after_the_checkpoint_are_taken_back(tmp_path):
    log = ProgressLog(tmp_path, "one", 0)
    for step in (2, 4, 6):
        log.write(step, 1.0, {"loss": 0.5})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("one,8,1.")  # torn by a kill
    ProgressLog(tmp_path, "one", 4).write(6, 1.0, {"loss": 0.25})
    assert steps(tmp_path) == [("one", 2), ("one", 4), ("one", 6)]
    assert (tmp_path / "log.csv").read_text().splitlines()[-1].endswith("0.25")


def test_other_phases_keep_their_lines(tmp_path):
    ProgressLog(tmp_path, "one", 0).write(9, 1.0, {"loss": 0.5})
    ProgressLog(tmp_path, "two", 0).write(3, 1.0, {"loss": 0.5})
    assert steps(tmp_path) == [("one", 9), ("two", 3)]


def test_without_tensorboard_there_is_a_way_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match="pip install tensorboard"):
        require_tensorboard()


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = ProgressLog(tmp_path, "one", 0, tensorboard=True)
    log.write(2, 1.0, {"loss": 0.5})
    log.write(4, 1.0, {"loss": 0.25})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("one/loss")] == [(2, 0.5), (4, 0.25)]
