from __future__ import annotations

import pytest

from vidtag_cli.video.location import find_embedded_location, parse_iso6709

ROUNDING_DEG = 1e-9  # sums of fractions of sixtieths in float64


def test_apple_key_comes_before_the_others() -> None:
    tags = {"location": "+01.0+002.0/", "com.apple.quicktime.location.ISO6709": "+03.0+004.0+005.0/"}
    found = find_embedded_location(tags)
    assert found is not None
    assert (found.lat_deg, found.lon_deg, found.alt_m) == (3.0, 4.0, 5.0)
    assert found.source_key == "com.apple.quicktime.location.ISO6709"


def test_passes_over_what_cannot_be_read() -> None:
    found = find_embedded_location({"location": "somewhere", "location-eng": "+01.0-002.0/"})
    assert found is not None
    assert found.source_key == "location-eng"


def test_key_is_found_in_any_case_and_in_a_stream() -> None:
    found = find_embedded_location({"video:LOCATION": "+01.0-002.0/"})
    assert found is not None
    assert found.is_place


def test_zero_zero_is_no_place() -> None:
    found = find_embedded_location({"location": "+00.0000+000.0000/"})
    assert found is not None
    assert not found.is_place


def test_nothing_is_nothing() -> None:
    assert find_embedded_location({"title": "+01.0-002.0/", "locations": "+01.0-002.0/"}) is None


@pytest.mark.parametrize(
    ("text", "lat_deg", "lon_deg", "alt_m"),
    [
        ("+48.8584+002.2945+035.000/", 48.8584, 2.2945, 35.0),
        ("+27.2939+112.6932/", 27.2939, 112.6932, None),
        ("-33.8568+151.2153", -33.8568, 151.2153, None),
        ("+32.0929+034.8620+028.516/", 32.0929, 34.862, 28.516),
        ("+40.20361-075.00417CRSWGS_84/", 40.20361, -75.00417, None),
        ("+00-025/", 0.0, -25.0, None),
        ("-90+000+2800CRSWGS_84/", -90.0, 0.0, 2800.0),
        ("+4012.22-07500.25/", 40 + 12.22 / 60, -(75 + 0.25 / 60), None),
        ("+401213.1-0750015.1-10.5/", 40 + 12 / 60 + 13.1 / 3600, -(75 + 15.1 / 3600), -10.5),
        ("-0030-00015/", -0.5, -0.25, None),
        ("+1.5+2.5/", 1.5, 2.5, None),
        ("+10-180/", 10.0, -180.0, None),
        ("+10+180/", 10.0, -180.0, None),
    ],
)
def test_reads_the_forms_of_the_standard(text: str, lat_deg: float, lon_deg: float, alt_m: float | None) -> None:
    point = parse_iso6709(text)
    assert point.lat_deg == pytest.approx(lat_deg, abs=ROUNDING_DEG)
    assert point.lon_deg == pytest.approx(lon_deg, abs=ROUNDING_DEG)
    assert point.alt_m == alt_m


@pytest.mark.parametrize(
    "text",
    [
        "",
        "48.8584,2.2945",
        "+48.8584",
        "+91+000/",
        "+10+181/",
        "+4060-07500/",  # 60 minutes
        "+401260-0750015/",  # 60 seconds
        "+401-075/",  # three digits of latitude
        "+40-0750/",  # four digits of longitude
        "+nan+nan/",
        "+48.8584+002.2945/x",
        "+٤٨+٠٠٢/",  # digits, but not ASCII
    ],
)
def test_refuses_everything_else(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        parse_iso6709(text)
