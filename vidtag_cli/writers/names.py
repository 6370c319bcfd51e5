"""Names from outside, such as those of files, in text that a person or a program reads."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")

REPLACEMENT = "\ufffd"
WHITE_SPACE = re.compile(r"[\t\n\r\x85\u2028\u2029]+")
# What XML 1.0 forbids (section 2.2), the controls 7F-9F that it discourages, and with them every lone surrogate.
FORBIDDEN = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ENTITY_START = re.compile(r"&(?=[#A-Za-z])")


def printable(text: str) -> str:
    """Return a text from outside, such as a file name, that is safe to print on a terminal and in a log.

    Control characters, line breaks, marks that reverse the direction of writing and bytes that are no UTF-8 come out as
    escapes; a name can neither colour the screen nor forge a line.
    """
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def legal_text(text: str) -> str:
    """Return one line of text that XML, JSON and UTF-8 can all carry; what they cannot becomes U+FFFD.

    File names reach this as Python decodes them, so undecodable bytes arrive as lone surrogates.
    """
    return FORBIDDEN.sub(REPLACEMENT, WHITE_SPACE.sub(" ", text))


def html_text(text: str) -> str:
    """Return a legal text that is the same text where a viewer takes it for HTML, as Google Earth does with names.

    An ampersand that begins no entity stays, so that plain readers see most names as they are.
    """
    return ENTITY_START.sub("&amp;", legal_text(text)).replace("<", "&lt;").replace(">", "&gt;")


def path_fields(path: str | os.PathLike[str], key: str = "path") -> dict[str, str]:
    """Return what names a path in JSON under ``key``, and under ``key_bytes_hex`` its bytes where they are no UTF-8."""
    raw = os.fsencode(path)
    if _is_utf8(raw):
        return {key: raw.decode("utf-8")}
    return {key: printable(os.fspath(path)), f"{key}_bytes_hex": raw.hex()}


def argument_fields(arguments: Sequence[str]) -> dict[str, Any]:
    """Return ``argv``, and where one of the arguments is no UTF-8 ``argv_bytes_hex`` with the bytes of every one."""
    raw = [os.fsencode(argument) for argument in arguments]
    if all(_is_utf8(argument) for argument in raw):
        return {"argv": list(arguments)}
    readable = [path_fields(argument)["path"] for argument in arguments]
    return {"argv": readable, "argv_bytes_hex": [argument.hex() for argument in raw]}


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
