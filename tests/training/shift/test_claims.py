"""Claims measured on flights: what the tables say of the statistics they were fitted on, and of others."""

from types import SimpleNamespace

import numpy as np

from training.shift.claims import _claims, measure_claims
from vidtag_cli.calibration.claims import claim_tables, fit_claims
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.claim_verdict import KINDS, OFF_KM
from vidtag_cli.track import Candidate, TrackPoint


def statistics(seed):
    """Return statistics of 60 flights that true claims and those next to them share, and all others lie far below."""
    rng = np.random.default_rng(seed)
    near = ("true", "off_10", "off_100")
    values = {kind: rng.normal(8.0 if kind in near else -8.0, 1.0, 60) for kind in KINDS}
    values["hardest"][:5] = np.nan
    return values


def test_what_is_far_from_true_claims_is_inconsistent():
    tables = claim_tables(*fit_claims(statistics(0), 100.0))
    lines = measure_claims(tables, statistics(1), 60).splitlines()
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line
    }
    assert set(KINDS) < set(cells)
    assert cells["random"] == ["60 of 60", "100.0 %", "0.0 %", "0.0 %"]
    assert cells["hardest"][0] == "55 of 60"
    assert float(cells["true"][1].removesuffix(" %")) <= 10.0 <= float(cells["true"][2].removesuffix(" %"))
    assert "Cllr" in lines[-1]


def test_claims_are_where_they_say():
    truth = np.array([[10.0, 20.0], [10.5, 20.0]])
    places = (Candidate(10.0, 20.0, 0.9, 0.5), Candidate(-30.0, 140.0, 0.8, 0.3), Candidate(60.0, 0.0, 0.7, 0.4))
    points = [TrackPoint(0, 0.0, "ok", 10.0, 20.0, 1.0, 1.0, 0.5, places)]
    session = SimpleNamespace(
        gallery=SimpleNamespace(latlon_deg=np.array([[0.0, 0.0], [5.0, 6.0]])),
        rule=SimpleNamespace(place_radius_km=100.0),
    )
    claims = dict(_claims(session, points, truth, 90.0, 1))
    assert set(claims) == set(KINDS)
    for off_km in OFF_KM:
        np.testing.assert_allclose(haversine_km(truth, claims[f"off_{off_km}"]), off_km, rtol=1e-6)
    assert (claims["random"] == [5.0, 6.0]).all()
    assert (claims["hardest"] == [60.0, 0.0]).all()  # the most probable of those far from the truth
