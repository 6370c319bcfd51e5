"""Both phases, killed by SIGKILL before a random step and resumed: the weights of an undisturbed run, bit by bit."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import small_training
import torch
from small_training import RECIPE, train_both, train_both_with_curves

from training.phases.execution import Execution, StoppedError, stoppable

ROOT = Path(__file__).parents[3]
STEPS = 18
"""Nine of each phase."""


@pytest.fixture(autouse=True)
def single_thread():
    """Sums over several threads may round differently from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_same(ours, theirs):
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    whole, curves = train_both_with_curves(tmp_path / "whole", Execution())
    step = random.randrange(STEPS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(
        [sys.executable, small_training.__file__, str(tmp_path / "killed"), str(step)],
        env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, rest = train_both_with_curves(tmp_path / "killed", Execution())
    assert_same(resumed, whole)
    for phase, begun in (("phase_one", 0), ("phase_two", 9)):
        made = max(step - begun, 0)
        done = 9 if made >= 9 else made // RECIPE.save_every * RECIPE.save_every
        assert rest.get(phase, []) == curves[phase][done:], f"killed before step {step}"


def test_a_moving_average_is_resumed_too(tmp_path):
    recipe = dataclasses.replace(RECIPE, ema_decay=0.9)
    whole = train_both(tmp_path / "whole", Execution(), recipe)
    with pytest.raises(StoppedError):
        train_both(tmp_path / "stopped", stopped_after(3), recipe)
    assert_same(train_both(tmp_path / "stopped", Execution(), recipe), whole)
    plain = train_both(tmp_path / "plain", Execution())
    assert not torch.equal(plain[0].frame_mlp.layers[0].weight, whole[0].frame_mlp.layers[0].weight)


def stopped_after(steps):
    """Return an execution in which Ctrl-C is pressed during a step."""

    class Pressed:
        def __init__(self):
            self.asked = 0

        def reached(self, ranks, device):
            self.asked += 1
            return self.asked == steps

    return Execution(stop=Pressed())


def test_ctrl_c_loses_no_step(tmp_path):
    whole = train_both(tmp_path / "whole", Execution())
    with pytest.raises(StoppedError, match="stopped after step 3 of 9"):
        train_both(tmp_path / "stopped", stopped_after(3))
    resumed, rest = train_both_with_curves(tmp_path / "stopped", Execution())
    assert len(rest["phase_one"]) == 6
    assert_same(resumed, whole)


def test_a_signal_asks_once_and_then_ends():
    with stoppable() as request:
        assert not request.is_made
        os.kill(os.getpid(), signal.SIGINT)
        assert request.is_made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
