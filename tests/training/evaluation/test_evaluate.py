from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from training.evaluation.evaluate import evaluate
from training.evaluation.leak import LeakCheck
from training.evaluation.predictions import save_predictions
from vidtag_cli.errors import UsageError

FEW = 20
BLIND, LEAKING = LeakCheck(9, 0, 99, 0, 0, False), LeakCheck(9, 9, 99, 9, 9, True)


@pytest.fixture
def save(tmp_path, make_predictions):
    def save(name, leak=BLIND, **options):
        predictions = make_predictions(**options)
        path = tmp_path / f"{name}.npz"
        save_predictions(dataclasses.replace(predictions, info=dataclasses.replace(predictions.info, leak=leak)), path)
        return path

    return save


def read(folder):
    return (folder / "evaluation.md").read_text("utf-8"), json.loads((folder / "evaluation.json").read_text("utf-8"))


def test_models_stand_beside_the_papers_table_of_their_data_set(save, tmp_path):
    files = [save("a", model="ours", dataset="msls"), save("b", model="worse", dataset="msls", error_km=9.0)]
    evaluate(files, tmp_path / "out", draw=False, resamples=FEW)
    text, document = read(tmp_path / "out")
    overall = document["sections"]["Overall"]
    assert overall["paper_table"] == "1"
    assert [row["name"] for row in overall["measured"]] == ["ours", "worse"]
    ours, worse = (row["values"]["frame_median"]["value"] for row in overall["measured"])
    assert ours < worse
    assert "| paper: VidTAG |" in text and "| **ours** |" in text and "†" not in text
    for section in ("ours, by continent", "ours, by length in frames", "ours, errors", "Places, nearest centre"):
        assert section in document["sections"]


def test_both_protocols_of_places_are_reported(save, tmp_path, make_predictions):
    wrong = make_predictions().places[::-1]
    files = [save("a", dataset="cityguessr68k", predicted_places=wrong)]
    evaluate(files, tmp_path / "out", draw=False, resamples=FEW)
    sections = read(tmp_path / "out")[1]["sections"]
    city = {name: part["measured"][0]["values"]["city"]["value"] for name, part in sections.items() if "Places" in name}
    # Read from the end, only the clips of the city in the middle keep theirs.
    assert city == {"Places, nearest centre": 100.0, "Places, classifier": 20.0}
    assert sections["Places, classifier"]["paper_table"] == "3"


def test_another_table_of_the_paper_can_be_chosen(save, tmp_path):
    evaluate([save("a")], tmp_path / "out", paper_table="5", draw=False, resamples=FEW)
    assert read(tmp_path / "out")[1]["sections"]["Overall"]["paper_table"] == "5"


def test_a_leaking_gallery_is_refused_or_marked_everywhere(save, tmp_path):
    files = [save("a", LEAKING)]
    with pytest.raises(UsageError, match="--allow-leak"):
        evaluate(files, tmp_path / "out", draw=False, resamples=FEW)
    assert not (tmp_path / "out").exists()
    evaluate(files, tmp_path / "out", allow_leak=True, draw=False, resamples=FEW)
    text, document = read(tmp_path / "out")
    assert "holds query coordinates" in text
    tables = [part for part in document["sections"].values() if "measured" in part]
    assert tables and all("9 of 9" in row["caution"] for part in tables for row in part["measured"])


def test_a_gallery_nobody_checked_is_marked(save, tmp_path):
    evaluate([save("a", None)], tmp_path / "out", draw=False, resamples=FEW)
    assert "nobody compared the gallery" in read(tmp_path / "out")[0]


def test_one_model_with_two_galleries_makes_two_rows(save, tmp_path):
    evaluate([save("a"), save("b", seed=1)], tmp_path / "out", draw=False, resamples=FEW)
    names = [row["name"] for row in read(tmp_path / "out")[1]["sections"]["Overall"]["measured"]]
    assert names == ["model; grid", "model; grid (b)"]


def test_two_runs_write_the_same_bytes(save, tmp_path):
    file = save("a")
    texts = [evaluate([file], tmp_path / name, draw=False, resamples=FEW).read_bytes() for name in ("one", "two")]
    assert texts[0] == texts[1]


def test_no_files_and_no_matplotlib_say_what_to_do(save, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="npz"):
        evaluate([], tmp_path / "out", draw=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="plot"):
        evaluate([save("a")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_figure_is_drawn(save, tmp_path, make_predictions):
    pytest.importorskip("matplotlib", reason="pip install -e '.[plot]'")
    frames = len(make_predictions().truth_latlon_deg)
    embeddings = np.random.default_rng(0).normal(size=(frames, 8))
    evaluate([save("a", embeddings=embeddings)], tmp_path / "out", resamples=FEW)
    text, _ = read(tmp_path / "out")
    drawn = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert drawn == [
        "features.png", "model-confusion-nearest-centre.png", "model-errors.png", "model-lengths.png",
        "model-tracks.png",
    ]  # fmt: skip
    assert all(f"(figures/{name})" in text for name in drawn)
