"""Footage of a kind the model does not know is told by its pixels, its features and what its places say of it."""

import dataclasses
import re

import numpy as np
import pytest
from tiny_bundle import FEATURE_DIM, FRAME_SIZE_PX, write_tiny_bundle

from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.contract import GATE_FILE, GateContract
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError
from vidtag_cli.pipeline.gate import (
    APPEARANCE,
    Gate,
    changed_views,
    cropped,
    load_gate,
    measure_appearance,
    mirrored,
    neighbour_cosine,
    strangeness,
)
from vidtag_cli.pipeline.locate import encode_batches, run_windows
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.uncertainty import objections_to
from vidtag_cli.video.batches import FrameBatch, FrameFacts

WIDTH = FEATURE_DIM + len(APPEARANCE)
LIMITS = GateContract(("as in training", "grey", "low_saturation"), 3, 2.0, -0.5, 0.6, 0.1, 0.5, 0.99, "made up")


def gate_arrays(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "mean": (WIDTH,), "scale": (WIDTH,), "hidden_weight": (WIDTH, 3), "hidden_bias": (3,),
        "kind_weight": (3, 3), "kind_bias": (3,),
    }  # fmt: skip
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {"scale": np.abs(arrays["scale"]) + np.float32(0.1)}


def gated_bundle(folder, limits=LIMITS, **changed):
    path = write_tiny_bundle(folder)
    np.savez(path / GATE_FILE, **(gate_arrays() | changed))
    contract = read_bundle_json(path)
    files = contract.files | {GATE_FILE: sha256_of(path / GATE_FILE)}
    write_bundle_json(path, dataclasses.replace(contract, files=files, gate=limits))
    return path


def pictures(count=3, size=FRAME_SIZE_PX, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def test_the_network_is_the_one_written_down():
    arrays, features, frames = gate_arrays(), np.ones((3, FEATURE_DIM), np.float32), pictures()
    inputs = np.concatenate([features, measure_appearance(frames)], axis=1)
    standard = np.clip((inputs - arrays["mean"]) / arrays["scale"], -8, 8)
    hidden = np.maximum(standard @ arrays["hidden_weight"] + arrays["hidden_bias"], 0)
    expected = hidden @ arrays["kind_weight"] + arrays["kind_bias"]
    gate = Gate(LIMITS, **arrays)
    np.testing.assert_allclose(gate.kind_logits(features, frames), expected, rtol=1e-5)
    np.testing.assert_allclose(gate.kind_logits(features[:1], frames[:1]), expected[:1], rtol=1e-5)


def test_strangeness_is_the_log_odds_of_all_other_kinds():
    logits = np.array([[1.0, 2.0, 0.5], [800.0, 1.0, 2.0]])
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert strangeness(logits)[0] == pytest.approx(np.log((1 - shares[0]) / shares[0]))
    assert strangeness(logits)[1] == pytest.approx(np.log(np.exp(1.0) + np.exp(2.0)) - 800.0)


FAMILIAR, GOOD = np.array([5.0, 0.0, 0.0]), np.array([0.2, 0.9, 0.8, 0.9])


@pytest.mark.parametrize(
    ("logits", "signs", "words"),
    [
        (FAMILIAR, GOOD, None),
        ([0.0, 3.0, 1.0], GOOD, r"unlike what the model was made for \(looks grey: 3.1 nat\)"),
        ([0.0, 1.0, 3.0], GOOD, "looks low saturation"),
        ([np.nan, 0.0, 0.0], GOOD, "unlike"),
        (FAMILIAR, [-0.6, 0.9, 0.8, 0.9], r"mirror image fits the Earth as well \(margin -0.600\)"),
        (FAMILIAR, [np.inf, 0.9, 0.8, 0.9], None),
        (FAMILIAR, [np.nan, 0.9, 0.8, 0.9], "mirror image"),
        (FAMILIAR, [0.2, 0.5, 0.8, 0.9], r"too few frames agree \(50% within reach of most others, at least 60%"),
        (FAMILIAR, [0.2, 0.9, 0.05, 0.9], r"nowhere on Earth looks like it \(mean cosine 0.05, limit 0.10\)"),
        (
            FAMILIAR,
            [0.2, 0.9, 0.8, 0.995],
            r"too alike to confirm each other \(cosine 0.995 .*, limit 0.990\): a slower",
        ),
        (
            FAMILIAR,
            [0.2, 0.9, 0.8, 0.4],
            r"too unlike to confirm each other \(cosine 0.400 .*, limit 0.500\): a faster",
        ),
        (FAMILIAR, [0.2, 0.9, 0.8, np.nan], "confirm each other"),
        (FAMILIAR, [0.2, 0.9, 0.8, np.inf], None),
    ],
)
def test_each_limit_has_its_words(logits, signs, words):
    objection = Gate(LIMITS, **gate_arrays()).objection(np.array(logits), np.array(signs))
    if words is None:
        assert objection is None
    else:
        assert re.search(words, objection), objection


def test_limits_are_still_inside():
    gate = Gate(LIMITS, **gate_arrays())
    at_limit = np.array([0.0, 2.0, -1e9])  # log odds of exactly 2
    assert gate.objection(at_limit, np.array([-0.5, 0.6, 0.1, 0.5])) is None
    assert gate.objection(at_limit, np.array([-0.5, 0.6, 0.1, 0.99])) is None


def test_the_appearance_of_known_pictures():
    names = dict(zip(APPEARANCE, range(len(APPEARANCE)), strict=True))
    grey = np.full((1, 48, 48, 3), 102, np.uint8)
    red = np.zeros((1, 48, 48, 3), np.uint8)
    red[..., 0] = 255
    ramp = np.repeat(np.linspace(0, 255, 48).astype(np.uint8)[None, None, :, None], 48, 1).repeat(3, -1)
    look = {name: measure_appearance(frames)[0] for name, frames in (("grey", grey), ("red", red), ("ramp", ramp))}
    assert look["grey"][names["brightness"]] == pytest.approx(0.4, abs=1e-6)
    assert look["grey"][names["log_chroma"]] == pytest.approx(np.log(1e-3), abs=1e-3)
    assert look["red"][names["redness"]] == pytest.approx(0.701, abs=1e-3)
    assert look["red"][names["blueness"]] == pytest.approx(-0.299, abs=1e-3)
    assert look["ramp"][names["darkest"]] < 0.03 and look["ramp"][names["brightest"]] > 0.97
    assert look["ramp"][names["log_gradient_x"]] - look["ramp"][names["log_gradient_y"]] == pytest.approx(
        np.log((1 / 47 + 1e-3) / 1e-3), abs=0.02
    )


def test_neighbours_are_compared_in_order():
    angles = np.cumsum([0.0, 0.1, 0.1, 0.9])  # cosines of 0.1, 0.1 and 0.9 between neighbours
    embedding = 3.0 * np.stack([np.cos(angles), np.sin(angles)], -1)[None]
    assert neighbour_cosine(embedding)[0] == pytest.approx(np.cos(0.1))
    assert np.isposinf(neighbour_cosine(embedding[:, :1])).all()


def test_a_mirror_image_is_turned_and_a_crop_shows_the_middle():
    frames = pictures(2, 16)
    assert (mirrored(mirrored(frames)) == frames).all() and (mirrored(frames)[:, :, 0] == frames[:, :, -1]).all()
    ramp = np.arange(64, dtype=np.uint8)[None, :, None, None].repeat(64, 2).repeat(3, 3)
    middle = cropped(ramp)
    assert middle.shape == ramp.shape and middle.dtype == np.uint8
    assert middle[0, 0, 0, 0] == 4 and middle[0, -1, 0, 0] == 59
    assert (np.diff(middle[0, :, 0, 0].astype(int)) >= 0).all()
    assert (cropped(pictures(1, 9)) <= 255).all()


def test_a_model_of_single_frames_looks_at_two_copies_and_a_gate_at_one():
    frames = pictures()
    assert len(changed_views("geoclip", False, frames)) == 2
    assert len(changed_views("vidtag", True, frames)) == 1
    assert changed_views("vidtag", False, frames) == []


def batch(frames):
    return FrameBatch(frames, tuple(FrameFacts(number, float(number), 0, 60.0) for number in range(len(frames))))


def test_the_gate_of_a_bundle_judges_windows(tmp_path):
    session = open_session(gated_bundle(tmp_path), threads=1)
    assert session.gate.limits == LIMITS
    frames = pictures(6)
    (encoded,) = encode_batches(session, [batch(frames)])
    assert encoded.features.shape == (6, 2 * FEATURE_DIM + 3)
    outputs = run_windows(session, encoded.features[None])
    logits = session.gate.kind_logits(session.encode_frames(frames), frames)
    np.testing.assert_allclose(outputs["kind_logits"], np.broadcast_to(logits.mean(0), (1, 6, 3)), rtol=1e-4)
    assert np.isfinite(outputs["window_signs"]).all() and outputs["window_signs"].shape == (1, 6, 4)
    (fast,) = encode_batches(session, [batch(frames)], fast=True)
    assert fast.features.shape == (6, FEATURE_DIM + 3)
    signs = run_windows(session, fast.features[None])["window_signs"]
    assert np.isposinf(signs[..., 0]).all()
    np.testing.assert_array_equal(signs[..., 1:], outputs["window_signs"][..., 1:])


def test_a_picture_and_its_mirror_image_have_opposite_margins(tmp_path):
    session = open_session(gated_bundle(tmp_path), threads=1)
    session.engines["dual_encoder"] = _Sided(session.engines["dual_encoder"])
    frames = pictures(6)
    margins = []
    for shown in (frames, mirrored(frames)):
        (encoded,) = encode_batches(session, [batch(shown)])
        margins.append(float(run_windows(session, encoded.features[None])["window_signs"][0, 0, 0]))
    assert margins[0] != 0.0 and margins[0] == pytest.approx(-margins[1], abs=1e-6)


class _Sided:
    """An encoder that knows left from right: that of the small bundle sees mean colours alone."""

    def __init__(self, engine):
        self._engine = engine

    def run(self, inputs):
        return self._engine.run({"frames_rgb": inputs["frames_rgb"][:, :, : FRAME_SIZE_PX // 2].repeat(2, axis=2)})


def test_objections_come_from_the_gate_or_from_places_that_move(tmp_path):
    session = open_session(gated_bundle(tmp_path), threads=1)
    outputs = {
        "disagreement_km": np.zeros(2), "kind_logits": np.array([FAMILIAR, [0.0, 9.0, 0.0]]),
        "window_signs": np.array([GOOD, GOOD]),
    }  # fmt: skip
    assert objections_to(session, outputs)[0] is None and "grey" in objections_to(session, outputs)[1]
    assert objections_to(dataclasses.replace(session, gate=None), outputs) == [None, None]
    moved = objections_to(session, {"moved_km": np.array([749.0, 751.0, np.nan])})
    assert moved[0] is None and "move it by 751 km" in moved[1] and moved[2] is not None


@pytest.mark.parametrize("name", sorted(gate_arrays()))
def test_a_damaged_gate_is_refused_by_name(tmp_path, name):
    wrong = np.ones(2, np.float32)
    with pytest.raises(ModelError, match=name):
        load_gate(load_bundle(gated_bundle(tmp_path, **{name: wrong})))


def test_a_gate_needs_two_kinds(tmp_path):
    with pytest.raises(ModelError, match=r"gate\.kinds"):
        gated_bundle(tmp_path, dataclasses.replace(LIMITS, kinds=("as in training",)))
