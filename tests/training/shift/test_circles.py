"""Radii are fitted on what the gate lets through, changed or not; films go through the model as videos do."""

import dataclasses
import math

import numpy as np
import pytest
from tiny_bundle import FRAME_SIZE_PX, write_tiny_bundle

from training.config_files import load_config
from training.shift import circles
from training.shift.bundle_copy import prepare_copy, write_copy
from training.shift.circles import Answers, fit_circles, measure
from training.shift.locate_film import embed_film, film_outputs
from training.shift.table import RowResult, _coverage
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError, OutputError
from vidtag_cli.evaluation.bootstrap import Estimate
from vidtag_cli.pipeline.calibration import UncertaintyRule
from vidtag_cli.pipeline.locate import embed_frames, encode_batches
from vidtag_cli.pipeline.repeats import hold_repeats
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.windows import join_frames
from vidtag_cli.video.batches import FrameBatch, FrameFacts

RULE = UncertaintyRule(10.0, 100.0, 1.0, 500.0, 500.0, None)


def answers(clips, seed, wrong=0.0, kept=True):
    """Return clips of four frames whose errors grow with their doubt; a share of the clips is far off."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), 4)
    doubt = rng.uniform(0.0, 0.4, clips).repeat(4)
    errors = 100.0 * doubt * rng.uniform(0.5, 1.5, len(clip)) + 2000.0 * (rng.uniform(size=clips) < wrong).repeat(4)
    return Answers(clip, np.full(len(clip), kept), errors, 100.0 * doubt, errors, doubt)


def test_circles_hold_for_flights_like_those_they_were_fitted_on():
    tables = fit_circles(answers(400, 0))
    measured = measure(answers(400, 1), tables, RULE)
    assert 0.93 < measured["coverage95"] <= 0.99 and 0.93 < measured["path_coverage95"] <= 0.99
    assert measured["test_clips"] == 400.0 and measured["test_frames"] == 1600.0


def test_changed_flights_that_are_let_through_widen_the_circles_and_refused_ones_do_not():
    plain = fit_circles(answers(400, 0))
    refused = fit_circles(Answers.join([answers(400, 0), answers(100, 2, wrong=1.0, kept=False)]))
    let_through = fit_circles(Answers.join([answers(400, 0), answers(100, 2, wrong=1.0)]))
    assert refused == plain
    assert max(let_through["radius95_km"]) > 1000.0 > max(plain["radius95_km"])


def tiny_film(clips, frames, seed=0):
    return (
        np.random.default_rng(seed).integers(0, 256, (clips, frames, FRAME_SIZE_PX, FRAME_SIZE_PX, 3)).astype(np.uint8)
    )


@pytest.mark.parametrize("repeated", [False, True])
def test_clips_run_together_are_what_each_is_alone(tmp_path, repeated):
    session = open_session(write_tiny_bundle(tmp_path), threads=1)
    film = tiny_film(10, session.bundle.window.frames)
    if repeated:
        film[3, 1] = film[3, 0]
    together = join_frames(embed_film(session, film))
    spread = 60.0
    alone = []
    for number, clip in enumerate(film):
        facts = tuple(FrameFacts(index, float(index), number, spread) for index in range(len(clip)))
        alone += embed_frames(session, encode_batches(session, hold_repeats([FrameBatch(clip, facts)])))
    expected = join_frames(alone)
    for name, values in expected.outputs.items():
        np.testing.assert_allclose(together.outputs[name], values, rtol=2e-4, atol=2e-5, err_msg=name)
    assert [facts.repeats is None for facts in together.facts].count(False) == repeated
    assert film_outputs(session, film)["refined_embedding"].shape[:2] == film.shape[:2]


def test_a_model_without_measured_paths_is_refused_before_anything_is_filmed(tmp_path):
    with pytest.raises(ModelError, match="calibrate the model first"):
        circles.write_circles(
            str(write_tiny_bundle(tmp_path)), tmp_path / "out.vidtag", load_config("flyover"), 20, force=False
        )
    assert not (tmp_path / "out.vidtag").exists()


def test_a_copy_has_all_files_and_the_new_contract(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    out = tmp_path / "new" / "copy.vidtag"
    prepare_copy(out, force=False)
    write_copy(bundle, out, dataclasses.replace(bundle.contract, version="9.9.9"), {"note.txt": b"more"})
    copy = load_bundle(out)
    assert copy.contract.version == "9.9.9" and (out / "note.txt").read_bytes() == b"more"
    assert copy.contract.files.keys() == {*bundle.contract.files, "note.txt"}
    for wrong in (out, tmp_path / "copy"):
        with pytest.raises(OutputError, match=r"NAME\.vidtag"):
            prepare_copy(wrong, force=False)


def test_what_a_row_found_is_what_the_bundle_says():
    half, nothing = Estimate(0.5, 0.4, 0.6), Estimate(math.nan, math.nan, math.nan)
    found = _coverage("low_saturation", "viterbi", RowResult(320, half, half, half, 30.0), 20)
    assert (found.change, found.clips, found.frames, found.coverage95_high) == ("low saturation", 20, 320, 0.6)
    assert (
        _coverage("grey", "none", RowResult(320, Estimate(0.0, 0.0, 0.0), nothing, nothing, math.nan), 20).coverage95
        is None
    )
