from __future__ import annotations

from vidtag_cli.video.location import find_embedded_location


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
