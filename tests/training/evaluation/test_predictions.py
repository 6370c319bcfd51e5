from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training.evaluation.leak import LeakCheck
from training.evaluation.predictions import PredictionInfo, join_clips, load_predictions, save_predictions
from vidtag_cli.errors import InputError


def test_a_file_gives_back_what_was_saved(make_predictions, tmp_path):
    predictions = make_predictions()
    leak = LeakCheck(9, 1, 99, 1, 0, False)
    predictions = dataclasses.replace(
        predictions,
        info=dataclasses.replace(predictions.info, leak=leak, gallery_spacing_km=0.5),
        predicted_places=predictions.places[::-1],
        embeddings=np.ones((len(predictions.truth_latlon_deg), 3)),
    )
    save_predictions(predictions, tmp_path / "some" / "p.npz")
    loaded = load_predictions(tmp_path / "some" / "p.npz")
    assert (loaded.info, loaded.keys) == (predictions.info, predictions.keys)
    for name in ("offsets", "truth_latlon_deg", "predicted_latlon_deg", "places", "predicted_places", "embeddings"):
        assert np.array_equal(getattr(loaded, name), getattr(predictions, name)), name
    assert np.array_equal(loaded.centres.places, predictions.centres.places)
    assert np.array_equal(loaded.centres.latlon_deg, predictions.centres.latlon_deg)
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["p.npz"]


def test_selected_clips_keep_their_frames(make_predictions):
    predictions = make_predictions()
    chosen = predictions.select(predictions.frames_per_clip() > 20)
    wanted = [clip for clip in predictions.clips() if len(clip[0]) > 20]
    assert 0 < len(chosen) < len(predictions)
    for (truth, predicted), (true_before, predicted_before) in zip(chosen.clips(), wanted, strict=True):
        assert np.array_equal(truth, true_before) and np.array_equal(predicted, predicted_before)
    assert len(chosen.places) == len(chosen)


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": np.array([0, 1])},
        {"predicted_latlon_deg": np.zeros((3, 2))},
        {"predicted_latlon_deg": np.array([(0.0, 0.0), (91.0, 0.0)])},
        {"keys": ("a", "a")},
        {"keys": ("a",)},
        {"places": np.array([["x"] * 4])},
        {"embeddings": np.zeros((1, 4))},
    ],
)
def test_what_does_not_fit_together_is_refused(change):
    good = join_clips(PredictionInfo("m", "d", "g"), ["a", "b"], [np.zeros((1, 2))] * 2, [np.ones((1, 2))] * 2)
    with pytest.raises(ValueError):
        dataclasses.replace(good, **change)


def test_a_clip_predicted_at_another_length_is_named():
    with pytest.raises(ValueError, match="clip b: 1 true and 2 predicted"):
        join_clips(PredictionInfo("m", "d", "g"), ["b"], [np.zeros((1, 2))], [np.zeros((2, 2))])


def test_other_files_are_refused_by_name(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", info=np.array('{"format": "another/1"}'))
    np.savez(tmp_path / "objects.npz", info=np.array([{"a": 1}], dtype=object))
    for name in ("text.npz", "other.npz", "objects.npz", "absent.npz"):
        with pytest.raises(InputError, match=name):
            load_predictions(tmp_path / name)
