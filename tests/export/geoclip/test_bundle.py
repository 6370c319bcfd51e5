"""A bundle from public weights gives what the ``geoclip`` package gives, with one and the same (small, random) CLIP."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from shared_results import made_once
from told import messages_of

from export.bundle import read_about, write_bundle
from export.geoclip import tower as geoclip_tower
from export.geoclip.bundle import PublicWeights
from export.geoclip.release import merge_repeats, read_release, read_rows
from export.geoclip.tower import read_clip_tower, tower_state
from export.parity.cases import synthetic_frames
from export.parity.report import ParityReport
from export.studies.geoclip_comparison import (
    PLACES,
    Agreement,
    compare_places,
    distinct_places,
    package_cosines,
    package_embeddings,
    session_places,
)
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import InputError, OutputError
from vidtag_cli.pipeline.session import open_session

PICTURES = 20

TOWER_ROUNDING = 2e-5
"""The same sums in another order, in float32, of values up to 3."""

PUBLISHED_ROUNDING = 2e-4
"""The package takes the sines of 1,600 radians in float32, which moves cosines by up to 1e-4, either way."""


def save_small_clip(folder, seed=0):
    """Write a CLIP of two layers with the width of ViT-L/14's embeddings, as transformers writes the published one."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(seed)
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 2, "projection_dim": 768,
    }  # fmt: skip
    vision = {
        "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "patch_size": 32, "image_size": 224, "projection_dim": 768,
        "initializer_factor": 4.0,  # at 1 the embeddings of all pictures are nearly one
    }  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def published():
    return pytest.importorskip("geoclip", reason="pip install geoclip: it holds the published weights")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save_small_clip(tmp_path_factory.mktemp("clip") / "small")


@pytest.fixture(scope="module")
def rows(published):
    """Return twelve hundred European rows of the package's gallery, most of them repeats, in the package's order."""
    every = read_rows(Path(published.__file__).parent / "model" / "gps_gallery" / "coordinates_100K.csv")
    europe = every[(np.abs(every[:, 0] - 48.0) < 12.0) & (np.abs(every[:, 1] - 8.0) < 18.0)]
    _, inverse, count = np.unique(europe, axis=0, return_inverse=True, return_counts=True)
    is_repeated = count[inverse.ravel()] > 1
    chosen = np.sort(np.concatenate([np.flatnonzero(is_repeated)[-800:], np.flatnonzero(~is_repeated)[:400]]))
    return europe[chosen]


@pytest.fixture(scope="module")
def release(rows):
    return dataclasses.replace(read_release(), gallery_latlon_deg=merge_repeats(rows))


@dataclasses.dataclass(frozen=True)
class Made:
    reports: tuple[ParityReport, ...]
    messages: tuple[str, ...]


@pytest.fixture(scope="module")
def made(clip_folder, release, tmp_path_factory):
    """Return the bundle, its reports and what the export said."""
    source = PublicWeights(read_clip_tower(str(clip_folder)), release, read_about("geoclip"))

    def write(folder):
        with messages_of("export") as messages:
            _, reports = write_bundle(source, folder / "small.vidtag", force=False)
        return Made(reports, tuple(messages))

    folder, result = made_once(tmp_path_factory, "geoclip-export", Made, write)
    return load_bundle(folder / "small.vidtag"), result.reports, result.messages


@pytest.fixture(scope="module")
def exported(made):
    return made[:2]


def test_every_step_is_said(made, release):
    bundle, reports, told = made
    for graph in bundle.graphs.values():
        assert f"writing {graph.path.name}" in told
    assert f"embedding the gallery: 0 of {len(release.gallery_latlon_deg)} places" in told
    compared = [line for line in told if line.startswith("comparing onnxruntime at fp32 with torch: ")]
    assert len(compared) == sum(len(report.results) for report in reports)
    assert told[-1] == f"{bundle.path}: in place"


@pytest.fixture(scope="module")
def session(exported, tmp_path_factory):
    bundle, _ = exported
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield open_session(bundle.path, allows_random_weights=True)


@pytest.fixture(scope="module")
def package(published, clip_folder, rows):
    model = published.GeoCLIP(clip_path=str(clip_folder)).eval()
    model.gps_gallery = torch.from_numpy(rows).float()
    return model


@pytest.fixture(scope="module")
def pictures():
    return synthetic_frames(224, np.random.default_rng(0))[:PICTURES]


def test_places_are_those_of_the_package(session, package, pictures):
    """Coordinates and order of the first five places of all pictures, none excepted."""
    assert compare_places(session, package, pictures) == Agreement(PICTURES, PICTURES, 0.0)
    assert len({tuple(places) for places in session_places(session, pictures)}) > PICTURES / 2


def test_the_comparison_sees_places_in_another_order(session, package, pictures):
    noise = np.random.default_rng(0).normal(0.0, 1e-3, (5000, 512)).astype(np.float32)
    shaken = dataclasses.replace(session, embed_places=lambda at: session.embed_places(at) + noise[: len(at)])
    agreement = compare_places(shaken, package, pictures)
    assert agreement.equal < PICTURES
    assert agreement.widest > PUBLISHED_ROUNDING


def test_embeddings_of_the_gallery_are_the_package_s_own(exported, release):
    """As good as equal to the exact ones, and not equal: the package rounds coordinates and phases to float32."""
    bundle, _ = exported
    stored = bundle.gallery_embedding()
    assert stored.shape == (len(release.gallery_latlon_deg), 512)
    with torch.no_grad():
        exact = release.location_encoder(torch.from_numpy(release.gallery_latlon_deg)).numpy()
    assert 0.0 < np.abs(1.0 - (stored * exact).sum(axis=1)).max() < PUBLISHED_ROUNDING


def test_what_is_compared_with_is_what_predict_answers(package, pictures, tmp_path):
    from PIL import Image

    (cosines,) = package_cosines(package, package_embeddings(package, pictures[:1]))
    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    listed, _ = package.predict(str(tmp_path / "a.png"), 40)
    distinct = list(dict.fromkeys(map(tuple, listed.tolist())))[:PLACES]
    assert distinct == list(distinct_places(cosines, package.gps_gallery.numpy()))


def test_repeated_places_are_merged_and_the_first_keeps_its_rank(rows):
    kept = list(dict.fromkeys(map(tuple, rows.tolist())))
    assert len(kept) < 0.9 * len(rows)
    assert list(map(tuple, merge_repeats(rows).tolist())) == kept


def test_the_whole_published_gallery_has_94123_places():
    assert len(read_release().gallery_latlon_deg) == 94123  # the number that about/geoclip.toml names


@torch.no_grad()
def test_the_tower_is_transformers_own(clip_folder):
    from transformers import CLIPModel

    images = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    theirs = CLIPModel.from_pretrained(clip_folder).eval().get_image_features(pixel_values=images)
    theirs = getattr(theirs, "pooler_output", theirs)
    assert (read_clip_tower(str(clip_folder)).visual(images) - theirs).abs().max() < TOWER_ROUNDING


def test_the_bundle_says_what_it_is(exported):
    bundle, reports = exported
    contract = bundle.contract
    assert (contract.kind, contract.location_encoder_kind) == ("geoclip", "equal_earth")
    assert "one frame at a time" in contract.domain
    assert contract.calibration.statement.startswith("Uncalibrated")
    assert not contract.calibration.is_measured
    assert contract.logit_scale == pytest.approx(39.687, abs=0.001)  # of GeoCLIP's checkpoint
    assert bundle.preprocess.resize == "center_crop"
    assert any("SHA-256" in text for text in contract.training.data)
    assert not any(report.failures() for report in reports)
    assert json.loads(bundle.file("parity.json").read_text())["reports"]


def test_random_weights_say_so_before_anything_else(monkeypatch):
    monkeypatch.setitem(geoclip_tower.VIT_L14, "layers", 1)
    tower = read_clip_tower("random:1")
    assert tower.caveat.startswith("Random weights")
    again = read_clip_tower("random:1")
    assert torch.equal(tower.visual.conv1.weight, again.visual.conv1.weight)


def test_engines_without_float64_find_their_location_encoder(exported):
    bundle, _ = exported
    assert bundle.graphs_for("fp32", has_float64=False)["location_encoder"].float64_as_parts


def test_a_taken_name_is_refused_before_any_work(exported):
    bundle, _ = exported
    with pytest.raises(OutputError, match="--force"):
        write_bundle(PublicWeights(None, None, read_about("geoclip")), bundle.path, force=False)


@pytest.mark.parametrize(("change", "message"), [
    ({"projection_dim": 512}, "GeoCLIP's head takes 768"), ({"model_type": "siglip"}, "wanted is 'clip'"),
])  # fmt: skip
def test_another_model_than_clip_vit_l14_is_refused(clip_folder, tmp_path, change, message):
    config = json.loads((clip_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=message):
        read_clip_tower(str(tmp_path))


def test_pixels_normalised_otherwise_are_refused(clip_folder, tmp_path):
    (tmp_path / "config.json").write_text((clip_folder / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5]}))
    with pytest.raises(InputError, match="image_mean"):
        read_clip_tower(str(tmp_path))


@pytest.mark.parametrize("source", ["nowhere/at/all", "random:", "random:-1"])
def test_a_source_that_is_none_is_an_input_error(source):
    with pytest.raises(InputError):
        read_clip_tower(source)


def test_a_hub_model_comes_from_the_cache_without_a_connection(clip_folder, tmp_path, monkeypatch):
    """The hub's layout: a folder of the repository with a snapshot and the name of the one that is current."""
    from huggingface_hub import constants

    repository = tmp_path / "models--someone--clip"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(clip_folder)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert read_clip_tower("hub:someone/clip").image_size_px == 224


def test_missing_weights_are_named():
    with pytest.raises(KeyError, match="class_embedding"):
        tower_state({})
