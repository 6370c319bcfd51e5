"""Every command: documented, quick to explain itself, free of surprises."""

import re
from pathlib import Path

import pytest

from vidtag_cli import errors
from vidtag_cli.__main__ import READER_GONE, main
from vidtag_cli.commands.app import COMMANDS, EXIT_CODES, GROUPS
from vidtag_cli.commands.interruption import HANDLED

ROOT = Path(__file__).parents[2]
NAMES = [name for name, *_ in (*COMMANDS, *GROUPS)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_explains_itself(capsys, name, flag):
    assert main([name, flag]) == 0
    captured = capsys.readouterr()
    assert f"Usage: vidtag {name}" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_in_the_readme(name):
    assert re.search(rf"vidtag {name}\b", (ROOT / "README.md").read_text("utf-8"))


def rows_of_readme():
    """Return the rows of README's table of exit codes without their marks: (codes, meaning)."""
    table = (ROOT / "README.md").read_text("utf-8").partition("| exit code | meaning |\n| --- | --- |\n")[2]
    for row in table.partition("\n\n")[0].splitlines():
        codes, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        yield codes, meaning.replace("`", "")


def test_the_exit_codes_of_the_readme_are_those_of_the_help():
    assert tuple(rows_of_readme()) == EXIT_CODES


def test_every_exit_code_of_the_program_is_published():
    """Those of the errors, of the results that are none, of signals, and of a reader that went away."""
    published = {int(code) for codes, _ in EXIT_CODES for code in codes.split(",")}
    family = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    signals = {128 + number for number in HANDLED}
    results = {
        errors.ALL_FRAMES_ABSTAINED,
        errors.SOME_INPUTS_FAILED,
        errors.CLAIM_INCONSISTENT,
        errors.CLAIM_UNDECIDED,
    }
    assert published == family | signals | results | {0, READER_GONE}
