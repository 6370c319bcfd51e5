from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from vidtag_cli.geo.land import country_names
from vidtag_cli.geo.places import OPEN_SEA, continents_of

PLACES = {
    "Berlin": (52.52, 13.40, "Europe"),
    "Nairobi": (-1.29, 36.82, "Africa"),
    "Lima": (-12.05, -77.04, "South America"),
    "Moscow": (55.75, 37.62, "Europe"),
    "Vladivostok": (43.12, 131.90, "Asia"),
    "Chukotka beyond the antimeridian": (66.0, -175.0, "Asia"),
    "Istanbul, Fatih": (41.05, 28.70, "Europe"),
    "Ankara": (39.93, 32.86, "Asia"),
    "Honolulu": (21.31, -157.85, "Oceania"),
    "Anchorage": (61.22, -149.90, "North America"),
    "Cayenne": (4.92, -52.31, "South America"),
    "Saint-Denis": (-21.10, 55.45, "Africa"),
    "South pole": (-90.0, 0.0, "Antarctica"),
}


@pytest.mark.parametrize("place", PLACES)
def test_continents_of_known_places(place):
    lat, lon, continent = PLACES[place]
    assert continents_of(np.array([(lat, lon)])).tolist() == [continent]


def test_a_bridge_belongs_to_the_land_beside_it_and_the_open_sea_to_none():
    bridge, off_fiji, mid_atlantic, north_pole = (37.81, -122.478), (-17.0, -179.6), (30.0, -40.0), (90.0, 0.0)
    found = continents_of(np.array([bridge, off_fiji, mid_atlantic, north_pole])).tolist()
    assert found == ["North America", "Oceania", OPEN_SEA, OPEN_SEA]


def test_every_country_has_one_continent():
    document = json.loads(
        (files("vidtag_cli") / "data" / "natural_earth" / "continents.json").read_text(encoding="utf-8")
    )
    listed = [country for members in document["countries"].values() for country in members]
    assert sorted(listed) == sorted(country_names()[1:])
    assert {part["country"] for part in document["parts"]} <= set(listed)
    assert {part["continent"] for part in document["parts"]} <= set(document["countries"])


def test_no_positions_have_no_continents():
    assert continents_of(np.zeros((0, 2))).shape == (0,)
