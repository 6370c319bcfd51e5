from __future__ import annotations

import io
import json
import logging
import os

import pytest
from rich.console import Console

from vidtag_cli.commands import console as console_module
from vidtag_cli.commands.console import (
    json_line,
    output_json,
    output_table,
    path_fields,
    printable,
    progress,
    set_verbosity,
    stderr_console,
)


@pytest.fixture
def log_file():
    """A console whose stream is a file, not a terminal."""
    return Console(file=io.StringIO(), force_terminal=False, markup=False, soft_wrap=True)


def test_messages_go_to_stderr_and_results_to_stdout(capsys):
    stderr_console().print("said to a person")
    output_json({"b": 1, "a": [1.5, None]})
    captured = capsys.readouterr()
    assert captured.out == '{"b": 1, "a": [1.5, null]}\n'
    assert captured.err == "said to a person\n"


def test_quiet_says_nothing(capsys):
    stderr_console(quiet=True).print("x")
    assert capsys.readouterr().err == ""


def test_square_brackets_are_text(capsys):
    stderr_console().print("clip[red].mp4 :smile:")
    assert capsys.readouterr().err == "clip[red].mp4 :smile:\n"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_json_is_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        json_line({"x": number})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße 東京.mp4", "Straße 東京.mp4"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nvidtag: error: forged", "a\\nvidtag: error: forged"),
        ("gpj\u202e4pm.exe", "gpj\\u202e4pm.exe"),
        ("a\u2028b\x7f\x9b", "a\\u2028b\\x7f\\x9b"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_name_cannot_steer_the_terminal(text, expected):
    assert printable(text) == expected
    printable(text).encode("utf-8")


def test_a_path_that_is_no_utf8_is_given_in_bytes_as_well():
    assert path_fields("a.mp4") == {"path": "a.mp4"}
    fields = path_fields(os.fsdecode(b"caf\xe9"))
    assert fields == {"path": "caf\\xe9", "path_bytes_hex": "636166e9"}
    json.loads(json_line(fields))


def test_a_table_is_aligned_and_its_cells_are_escaped(capsys):
    output_table(("NAME", "STATUS"), [("longer name", "ok"), ("b\x1b[2J", "")])
    assert capsys.readouterr().out == "NAME         STATUS\nlonger name  ok\nb\\x1b[2J\n"


def test_a_log_file_gets_no_bar_and_one_line_a_minute(log_file, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(console_module._plain_progress, "__defaults__", (lambda: now_s[0],))
    with progress(log_file, "clip\x07.mp4") as show:
        for second in range(150):
            now_s[0] = float(second)
            show(second, 150.0)
        show(1234.0, None)
    assert log_file.file.getvalue() == "clip\\x07.mp4: 40%\nclip\\x07.mp4: 80%\n"


def test_quiet_progress_is_silent_on_a_terminal_too():
    terminal = Console(file=io.StringIO(), force_terminal=True)
    with progress(terminal, "clip.mp4", quiet=True) as show:
        show(1.0, 2.0)
    assert terminal.file.getvalue() == ""


def test_a_terminal_gets_a_bar(log_file):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress(terminal, "clip[red].mp4") as show:
        show(1.0, 2.0)
    assert "clip[red].mp4" in terminal.file.getvalue()
    assert "50%" in terminal.file.getvalue()


@pytest.mark.parametrize(
    ("verbose", "quiet", "level"),
    [(0, False, logging.WARNING), (1, False, logging.INFO), (2, False, logging.DEBUG), (2, True, logging.ERROR)],
)
def test_verbosity_sets_the_level(verbose, quiet, level):
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    try:
        set_verbosity(verbose, quiet)
        assert root.level == level
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
