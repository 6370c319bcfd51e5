"""The text in the bytes of a file."""

from __future__ import annotations

import codecs

from vidtag_cli.positions.position import MalformedError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decoded_text(content: bytes) -> str:
    """Return the text of UTF-8, or of UTF-16 with its byte order mark, as spreadsheets write it.

    Raises MalformedError with the line of the first byte that is neither.
    """
    name, encoding = ("UTF-16", "utf-16") if content.startswith(UTF16_MARKS) else ("UTF-8", "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise MalformedError(f"line {line}: not {name} text ({error.reason}): save it as UTF-8") from error
