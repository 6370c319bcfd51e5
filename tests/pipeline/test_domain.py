"""Pictures of a kind the model does not know lie far from those it does."""

import numpy as np
import pytest

from vidtag_cli.pipeline.domain import fit_domain_model


def test_domain_distance_is_about_one_inside_and_large_outside():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    inside = (rng.normal(size=(4000, 12)) @ mixing).astype(np.float32)
    domain = fit_domain_model(inside, shrinkage=1e-6)
    fresh = (rng.normal(size=(500, 12)) @ mixing).astype(np.float32)
    assert np.mean(domain.distance(fresh) ** 2) == pytest.approx(1.0, abs=0.1)  # 500 draws of a chi-square over 12
    outside = (rng.normal(size=(500, 12)) * np.abs(inside).max()).astype(np.float32)
    assert np.median(domain.distance(outside)) > 3.0
