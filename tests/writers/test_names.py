"""A name that is no UTF-8 is readable in JSON, and its bytes are there too."""

import os

from vidtag_cli.writers.names import argument_fields, path_fields

ODD = os.fsdecode(b"caf\xe9")


def test_the_key_names_both_fields():
    assert path_fields("a\nb", "report") == {"report": "a\nb"}
    assert path_fields(ODD, "report") == {"report": "caf\\xe9", "report_bytes_hex": "636166e9"}


def test_arguments_have_their_bytes_where_one_needs_them():
    assert argument_fields(["locate", "é"]) == {"argv": ["locate", "é"]}
    assert argument_fields(["a", ODD]) == {"argv": ["a", "caf\\xe9"], "argv_bytes_hex": ["61", "636166e9"]}
