"""Pictures of a kind the model does not know lie far from those it does."""

import dataclasses

import numpy as np
import pytest
from tiny_bundle import FEATURE_DIM, write_tiny_bundle

from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError
from vidtag_cli.pipeline.domain import DomainModel, fit_domain_model, load_domain_model


def test_domain_distance_is_about_one_inside_and_large_outside():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    inside = (rng.normal(size=(4000, 12)) @ mixing).astype(np.float32)
    domain = fit_domain_model(inside, shrinkage=1e-6)
    fresh = (rng.normal(size=(500, 12)) @ mixing).astype(np.float32)
    assert np.mean(domain.distance(fresh) ** 2) == pytest.approx(1.0, abs=0.1)  # 500 draws of a chi-square over 12
    outside = (rng.normal(size=(500, 12)) * np.abs(inside).max()).astype(np.float32)
    assert np.median(domain.distance(outside)) > 3.0


def test_the_distance_is_that_of_mahalanobis_over_the_root_of_the_width():
    domain = DomainModel(np.array([1.0, 2.0], np.float32), np.array([[0.5, 0.0], [0.0, 0.25]], np.float32))
    np.testing.assert_allclose(domain.distance(np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)), [0.0, 1.0])


def test_shrinkage_mixes_in_a_round_cloud_of_the_same_size():
    features = np.random.default_rng(1).normal(size=(50, 3)) * [1.0, 2.0, 3.0] + [5.0, 0.0, -5.0]
    covariance = np.cov(features.T)
    for shrinkage in (0.0, 0.25, 1.0):
        mixed = (1 - shrinkage) * covariance + shrinkage * np.eye(3) * np.trace(covariance) / 3
        centred = features - features.mean(0)
        expected = np.sqrt(np.einsum("nd,de,ne->n", centred, np.linalg.inv(mixed), centred) / 3)
        distance = fit_domain_model(features, shrinkage).distance(features.astype(np.float32))
        np.testing.assert_allclose(distance, expected, rtol=1e-4)


def test_a_direction_in_which_no_picture_differs_gets_a_width():
    flat = np.random.default_rng(1).normal(size=(50, 3)) * [1.0, 1.0, 0.0]
    beside = np.array([[0.0, 0.0, 1.0]], np.float32)
    # One per cent of the mean variance, 2 / 3, is the variance there; the distance is over the root of 3 directions.
    assert fit_domain_model(flat).distance(beside)[0] == pytest.approx(np.sqrt(1 / (0.01 * 2 / 3) / 3), rel=0.2)


def bundle_with(folder, **arrays):
    """Return the small bundle with another domain file, its hash made right."""
    path = write_tiny_bundle(folder) / "domain.npz"
    with np.load(path) as known:
        np.savez(path, **{**known, **arrays})
    contract = read_bundle_json(path.parent)
    write_bundle_json(path.parent, dataclasses.replace(contract, files=contract.files | {path.name: sha256_of(path)}))
    return load_bundle(path.parent)


SQUARE = np.eye(FEATURE_DIM, dtype=np.float32)


@pytest.mark.parametrize(("arrays", "message"), [
    ({"mean": np.full(FEATURE_DIM, np.nan, np.float32)}, "mean: "),
    ({"mean": np.full(FEATURE_DIM, "1")}, "mean: "),
    ({"whitening": SQUARE + np.float32(np.inf)}, "whitening: "),
    ({"whitening": 0.0 * SQUARE}, "a direction without width"),
    ({"whitening": SQUARE * (np.arange(FEATURE_DIM) > 0)}, "a direction without width"),
    ({"whitening": SQUARE * (np.arange(FEATURE_DIM) > 0)[:, None]}, "a direction without width"),
    ({"whitening": (SQUARE + 1) * (np.arange(FEATURE_DIM) > 0).astype(np.float32)}, "a direction without width"),
    ({"whitening": (SQUARE + 1) * (np.arange(FEATURE_DIM) > 0).astype(np.float32)[:, None]},
     "a direction without width"),
    ({"whitening": SQUARE[1:]}, "(whitening|mean): "),
    ({"mean": np.zeros(3, np.float32)}, "(whitening|mean): "),
])  # fmt: skip
def test_numbers_within_which_everything_would_lie_are_refused(tmp_path, arrays, message):
    with pytest.raises(ModelError, match=message):
        load_domain_model(bundle_with(tmp_path, **arrays))


def test_a_limit_without_the_distances_it_was_measured_for_is_refused(tmp_path):
    path = write_tiny_bundle(tmp_path)
    contract = read_bundle_json(path)
    (path / "domain.npz").unlink()
    files = {name: sha256 for name, sha256 in contract.files.items() if name != "domain.npz"}
    write_bundle_json(path, dataclasses.replace(contract, files=files))
    with pytest.raises(ModelError, match=r"there is no domain\.npz"):
        load_domain_model(load_bundle(path))
