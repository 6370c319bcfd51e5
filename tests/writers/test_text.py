from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from lxml import etree

from vidtag_cli.writers.text import instant_text, legal_text, radius_text


def test_every_character_that_remains_fits_in_xml_and_utf8():
    cleaned = legal_text("".join(map(chr, range(sys.maxunicode + 1))))
    element = etree.Element("name")
    element.text = cleaned
    assert etree.fromstring(etree.tostring(element, encoding="UTF-8")).text == cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 𝄞 日本.mp4", "plain é 𝄞 日本.mp4"),
        ("a\x00b\x1bc\x7fd\x9be", "a\ufffdb\ufffdc\ufffdd\ufffde"),
        ("two\r\nlines\tand\u2028more", "two lines and more"),
        (b"caf\xe9.mp4".decode("utf-8", "surrogateescape"), "caf\ufffd.mp4"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
    ],
)
def test_what_cannot_be_carried_is_replaced(text, expected):
    assert legal_text(text) == expected


@pytest.mark.parametrize(
    ("microsecond", "expected"),
    [(0, "09:30:59.000Z"), (499, "09:30:59.000Z"), (500, "09:30:59.001Z"), (999_500, "09:31:00.000Z")],
)
def test_instants_have_rounded_milliseconds(microsecond, expected):
    instant = datetime(2024, 5, 17, 9, 30, 59, microsecond, tzinfo=UTC)
    assert instant_text(instant) == f"2024-05-17T{expected}"


def test_instants_are_written_in_utc():
    instant = datetime(2024, 1, 1, 5, 45, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert instant_text(instant) == "2024-01-01T00:00:00.000Z"


def test_an_instant_without_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        instant_text(datetime(2024, 1, 1))


def test_large_numbers_keep_their_digits():
    assert radius_text(20_015_115.04) == "20015115.0"
