"""A name that is no UTF-8 is readable in JSON, and its bytes are there too."""

import os
import sys

import pytest
from lxml import etree

from vidtag_cli.writers.names import argument_fields, legal_text, path_fields

ODD = os.fsdecode(b"caf\xe9")


def test_the_key_names_both_fields():
    assert path_fields("a\nb", "report") == {"report": "a\nb"}
    assert path_fields(ODD, "report") == {"report": "caf\\xe9", "report_bytes_hex": "636166e9"}


def test_arguments_have_their_bytes_where_one_needs_them():
    assert argument_fields(["locate", "é"]) == {"argv": ["locate", "é"]}
    assert argument_fields(["a", ODD]) == {"argv": ["a", "caf\\xe9"], "argv_bytes_hex": ["61", "636166e9"]}


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
