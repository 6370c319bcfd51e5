"""Frames of known places as a calibration sees them."""

from types import SimpleNamespace

import numpy as np

from vidtag_cli.calibration.known_clips import known_frames
from vidtag_cli.pipeline.windows import EmbeddedFrames
from vidtag_cli.video.batches import FrameFacts


class RefusesSecond:
    """A gate that refuses what has a negative sign."""

    def objection(self, kind_logits, signs):
        return "made up" if signs[0] < 0 else None


def test_frames_that_the_gate_refuses_are_of_no_use():
    facts = tuple(FrameFacts(number, float(number), 0, spread) for number, spread in enumerate((60.0, 60.0, 0.5)))
    outputs = {
        "first_embedding": np.eye(3, dtype=np.float32),
        "refined_embedding": np.eye(3, dtype=np.float32),
        "disagreement_km": np.zeros(3, np.float32),
        "domain_distance": np.ones(3, np.float32),
        "kind_logits": np.zeros((3, 2), np.float32),
        "window_signs": np.array([[1.0], [-1.0], [1.0]]),
    }
    truth = np.zeros((3, 2))
    embedded = [EmbeddedFrames(facts, outputs)]
    gated = SimpleNamespace(gate=RefusesSecond())
    assert known_frames(gated, embedded, truth).is_usable.tolist() == [True, False, False]
    assert known_frames(SimpleNamespace(gate=None), embedded, truth).is_usable.tolist() == [True, True, False]
