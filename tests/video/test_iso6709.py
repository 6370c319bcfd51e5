from __future__ import annotations

import pytest

from vidtag_cli.video.iso6709 import parse_iso6709

ROUNDING_DEG = 1e-9  # sums of fractions of sixtieths in float64


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
