"""A whole training from samples to the final folder, with backbones saved as published ones are, at a few pixels."""

import json

import cache_filling
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_preset import SIZE_PX, save_backbones, small_preset

from training.config import MixConfig
from training.config_files import config_from_json, load_config
from training.features.encode import Encoding
from training.features.held_out import SplitSamples
from training.model.vidtag import build_model
from training.phases.execution import Execution
from training.run.train import BackboneSources, train_model
from vidtag_cli.errors import InputError, UsageError


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    clip, second = save_backbones(tmp_path_factory.mktemp("backbones"))
    return BackboneSources(clip, second)


def split(count=30, prefix="clips"):
    samples = cache_filling.samples(count, prefix)
    return SplitSamples(samples, frozenset(sample.key for sample in samples[::2]))


def train(folder, sources, sets=None, read=cache_filling.read_numbers, **changes):
    train_model(
        small_preset(**changes), sets or {"clips": split()}, folder / "cache", folder / "run", sources=sources,
        encoding=Encoding(SIZE_PX, batch_frames=32), read=read, execution=Execution(),
    )  # fmt: skip
    return folder / "run"


def no_frames(sample, indices, size_px):
    """Stand for a reader when everything should be cached already, but for the pictures kept beside the model."""
    if len(indices) > 4:
        raise AssertionError("a frame was read though the cache is finished")
    return cache_filling.read_numbers(sample, indices, size_px)


def test_a_run_ends_with_all_that_training_can_give(tmp_path, sources):
    run = train(tmp_path, sources)
    final = run / "final"
    config = config_from_json((final / "config.json").read_text(), "config.json")
    assert config == small_preset()
    model = build_model(config.model)
    model.load_state_dict(load_file(final / "weights.safetensors"))
    assert torch.equal(model.frame_mlp.layers[0].weight, model.frame_mlp.layers[0].weight.half().float())
    splits = json.loads((final / "splits.json").read_text())["clips"]
    assert len(splits["train"]) + len(splits["held_out"]) == 30
    assert not set(splits["train"]) & set(splits["held_out"])
    assert np.load(final / "gallery_latlon.npy").shape[1] == 2
    assert np.load(final / "parity_frames.npy").shape == (4, SIZE_PX, SIZE_PX, 3)
    assert np.load(final / "domain.npz")["mean"].shape == (16,)
    metrics = json.loads((final / "metrics.json").read_text())
    assert metrics["held_out_clips"] == len(splits["held_out"]) - 1  # one of them cannot be read
    assert metrics["held_out_median_km"] > 0.0
    calibration = json.loads((final / "calibration.json").read_text())
    assert calibration["statement"].startswith("Uncalibrated: ")
    record = json.loads((run / "run.json").read_text())
    assert len(record["backbones"]["clip"]["sha256"]) == 64
    assert record["data"]["clips"]["sequences"] == 30
    assert record["data"]["clips"]["unreadable"] == 1
    assert record["data"]["clips"]["training"] == len(splits["train"]) == 15

    before = (final / "weights.safetensors").read_bytes()
    train(tmp_path, sources, read=no_frames)
    assert (final / "weights.safetensors").read_bytes() == before

    with pytest.raises(InputError, match="begun with another preset"):
        train(tmp_path, sources, seed=99)


def test_several_sets_are_mixed_as_the_preset_says(tmp_path, sources):
    rules = (MixConfig("first"), MixConfig("second", apart_from=("first",), apart_km=1.0, clips_per_stratum=2))
    first = SplitSamples(cache_filling.samples(6, "first"), frozenset(s.key for s in cache_filling.samples(6, "first")))
    second = split(30, "second")
    run = train(tmp_path, sources, {"first": first, "second": second}, mix=rules)
    data = json.loads((run / "run.json").read_text())["data"]
    assert (data["first"]["training"], data["second"]["training"]) == (6, 6)
    splits = json.loads((run / "final" / "splits.json").read_text())
    near = {f"second/{number:03d}" for number in range(6)}
    assert not near & set(splits["second"]["train"])
    with pytest.raises(UsageError, match="give exactly those"):
        train(tmp_path / "other", sources, {"first": first}, mix=rules)


def test_too_little_data_is_said_at_once(tmp_path, sources):
    few = SplitSamples(cache_filling.samples(3), frozenset(sample.key for sample in cache_filling.samples(3)))
    with pytest.raises(InputError, match="3 of the 4 sequences that a batch takes") as raised:
        train(tmp_path, sources, {"clips": few}, read=no_frames)
    assert "0 of them held out" in str(raised.value)
    assert "batch_clips of at most 3" in str(raised.value)


def test_what_cannot_be_read_is_counted_when_it_leaves_too_little(tmp_path, sources):
    """Found to be enough by the scan; that frames are broken is known only after they were encoded."""
    samples = cache_filling.samples(12)[8:]
    sets = {"clips": SplitSamples(samples, frozenset(sample.key for sample in samples))}
    with pytest.raises(InputError, match="3 of the 4 sequences") as raised:
        train(tmp_path, sources, sets)
    assert "1 with frames that cannot be read" in str(raised.value)


def test_the_presets_of_the_paper_differ_where_the_paper_says():
    paper, large, unified = (load_config(name) for name in ("paper", "paper_large_data", "paper_unified"))
    assert (paper.phase_one.epochs, paper.phase_one.decay_per_epoch) == (600, 0.99)
    assert (large.phase_one.epochs, large.phase_one.decay_per_epoch) == (100, 0.95)
    assert (unified.phase_one.epochs, unified.phase_one.decay_per_epoch) == (200, 0.97)
    assert all(preset.phase_two == paper.phase_two for preset in (large, unified))
    assert (paper.phase_two.epochs, paper.phase_two.decay_per_epoch) == (100, 0.95)
    assert paper.clips.frames * paper.phase_one.batch_clips == 2048
