"""A gate learns from changed clips, and its arrays are those the runtime reads."""

import numpy as np

from training.shift.changes import KINDS
from training.shift.films import GateSamples
from training.shift.fit_gate import HIDDEN_WIDTH, fit_gate, gate_kinds, gate_labels
from vidtag_cli.bundle.contract import GateContract
from vidtag_cli.pipeline.gate import APPEARANCE, Gate, strangeness

NAMES = list(KINDS)
FEATURES = 5


def clips(count, seed):
    """Return clips of which grey ones differ in one number of their appearance, the others in nothing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([NAMES.index("none"), NAMES.index("blur"), NAMES.index("grey")], count)
    appearance = rng.normal(size=(count, 4, len(APPEARANCE))).astype(np.float32)
    appearance[kind == NAMES.index("grey"), :, 6] -= 3.0
    return GateSamples(rng.normal(size=(count, 4, FEATURES)).astype(np.float16), appearance, kind)


def test_harmless_kinds_are_one():
    labels = dict(zip(NAMES, gate_labels(np.arange(len(NAMES))).tolist(), strict=True))
    assert all(labels[name] == 0 for name in NAMES if KINDS[name].is_harmless)
    assert [gate_kinds()[labels[name]] for name in ("grey", "dark")] == ["grey", "dark"]
    assert sorted(set(labels.values())) == list(range(len(gate_kinds())))


def test_it_learns_and_repeats():
    arrays = fit_gate(clips(600, 0), seed=1)
    again = fit_gate(clips(600, 0), seed=1)
    assert all((arrays[name] == again[name]).all() for name in arrays)
    limits = GateContract(gate_kinds(), HIDDEN_WIDTH, 0.0, -2.0, 0.0, -1.0, -1.0, 1.0, "")
    gate, fresh = Gate(limits, **arrays), clips(200, 2)
    standard = np.concatenate([fresh.features.astype(np.float32), fresh.appearance], -1)
    hidden = np.maximum(np.clip((standard - gate.mean) / gate.scale, -8, 8) @ gate.hidden_weight + gate.hidden_bias, 0)
    odds = strangeness((hidden @ gate.kind_weight + gate.kind_bias).mean(1))
    is_grey = fresh.kind == NAMES.index("grey")
    assert (odds[is_grey] > 0).mean() > 0.9 and (odds[~is_grey] < 0).mean() > 0.9
