"""Flights: drawn again they are the same, and they stay where the model can know something."""

import numpy as np
import pytest

from training.config_files import load_config
from training.flyover.flights import draw_flights, is_small_island, near_land
from vidtag_cli.geo.sphere import haversine_km, initial_bearing_deg

COUNT = 40
CONFIG = load_config("flyover").flights


@pytest.fixture(scope="module")
def flights():
    return draw_flights(CONFIG, COUNT, np.random.default_rng(3))


def test_the_same_seed_gives_the_same_flights(flights):
    again = draw_flights(CONFIG, COUNT, np.random.default_rng(3))
    for name in ("latlon_deg", "heading_deg", "footprint_km", "style"):
        assert np.array_equal(getattr(flights, name), getattr(again, name))
    other = draw_flights(CONFIG, COUNT, np.random.default_rng(4))
    assert not np.array_equal(flights.latlon_deg, other.latlon_deg)


def test_there_are_as_many_as_asked_for(flights):
    assert len(flights) == COUNT
    assert flights.latlon_deg.shape == (COUNT, CONFIG.frames, 2)
    assert flights.heading_deg.shape == (COUNT, CONFIG.frames)
    assert draw_flights(CONFIG, 3, np.random.default_rng(0), frames=1).latlon_deg.shape == (3, 1, 2)


def test_they_stay_near_land_and_in_their_latitudes(flights):
    assert near_land(flights.latlon_deg.reshape(-1, 2), CONFIG.coast_km).all()
    south_deg, north_deg = CONFIG.latitude_deg
    assert flights.latlon_deg[..., 0].min() >= south_deg
    assert flights.latlon_deg[..., 0].max() <= north_deg
    assert (np.abs(flights.latlon_deg[..., 1]) <= 180.0).all()


def test_a_flight_keeps_its_speed_and_flies_where_it_heads(flights):
    step_km = haversine_km(flights.latlon_deg[:, :-1], flights.latlon_deg[:, 1:])
    assert np.ptp(step_km, axis=1).max() < 1e-3
    assert step_km.min() > CONFIG.step_km[0] - 1e-3
    assert step_km.max() < CONFIG.step_km[1] + 1e-3
    bearing_deg = initial_bearing_deg(flights.latlon_deg[:, :-1], flights.latlon_deg[:, 1:])
    difference_deg = (bearing_deg - flights.heading_deg[:, :-1] + 180.0) % 360.0 - 180.0
    assert np.abs(difference_deg).max() < 1e-3


def test_what_they_see_is_within_the_ranges(flights):
    assert flights.footprint_km.min() >= CONFIG.footprint_km[0]
    assert flights.footprint_km.max() <= CONFIG.footprint_km[1]
    assert set(flights.style) == {0, 1}


def test_a_box_may_span_the_antimeridian():
    chukotka = draw_flights(CONFIG, 10, np.random.default_rng(0), box=(64.0, 172.0, 70.0, -170.0))
    lat, lon = chukotka.latlon_deg[:, 0, 0], chukotka.latlon_deg[:, 0, 1]
    assert ((lat >= 64.0) & (lat <= 70.0)).all()
    assert ((lon >= 172.0) | (lon <= -170.0)).all()


def test_a_share_of_training_flights_starts_on_small_islands():
    drawn = draw_flights(CONFIG, 200, np.random.default_rng(5), frames=1, island_share=0.25)
    on_islands = is_small_island(drawn.latlon_deg[:, 0])
    assert 50 <= on_islands.sum() <= 60  # a quarter, and the few that area alone gives
    assert not on_islands[:50].all()  # mixed among the others
    plain = draw_flights(CONFIG, 200, np.random.default_rng(5), frames=1)
    assert is_small_island(plain.latlon_deg[:, 0]).sum() < 15


def test_fiji_is_a_small_island_and_hungary_is_not():
    assert is_small_island(np.array([[-17.8, 178.0], [47.0, 19.5]])).tolist() == [True, False]
