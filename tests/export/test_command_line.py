"""What is said to whoever types something wrong: one line, an exit code, and nothing is computed before."""

import re

import pytest
import typer

from export.__main__ import app, main
from training.run.folder import RunFolder, write_run

PROGRESS = re.compile(r"\d\d:\d\d:\d\d ")
"""What is being done is said with the time of day, before the error."""

COMMANDS = sorted(typer.main.get_command(app).commands)


def check_refused(capsys, code, words, *arguments):
    found = main([str(argument) for argument in arguments])
    lines = [line for line in capsys.readouterr().err.splitlines() if not PROGRESS.match(line)]
    assert found == code, lines
    assert len(lines) == 1 and lines[0].startswith("export: error: "), lines
    for word in words:
        assert word in lines[0], lines


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_answers_to_h(command, capsys):
    assert main([*command, "-h"]) == 0
    assert "Usage: python -m export" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_named(tmp_path, capsys):
    out = ("--out", tmp_path / "x.vidtag")
    missing = tmp_path / "missing"
    for command in (("bundle", missing, *out), ("onnx", missing, *out), ("parity", missing, "--run", missing)):
        check_refused(capsys, 3, [str(missing), "not finished"], *command)
    for command in ("islands", "onnx"):
        check_refused(capsys, 3, ["random:paper4"], command, "random:flyover", *(out if command == "onnx" else ()))
    check_refused(capsys, 3, [str(missing), "OWNER/NAME"], "geoclip", "--clip", missing, *out)


@pytest.mark.parametrize("command", [("bundle", "absent"), ("onnx", "absent"), ("geoclip", "--clip", "absent")])
def test_the_name_of_the_bundle_is_looked_at_first(command, tmp_path, capsys):
    check_refused(capsys, 5, ["NAME.vidtag"], *command, "--out", tmp_path / "bundle")
    (tmp_path / "there.vidtag").mkdir()
    check_refused(capsys, 5, ["--force"], *command, "--out", tmp_path / "there.vidtag")


def test_an_engine_without_limits_is_refused_before_torch_computes(flyover_run, flyover_export, tmp_path, capsys):
    write_run(RunFolder(tmp_path), flyover_run)
    bundle, _ = flyover_export
    check_refused(
        capsys, 2, ["no tolerance for abacus"], "parity", bundle.path, "--run", tmp_path, "--engine", "abacus"
    )


def test_statements_that_are_not_there_are_named(flyover_run, tmp_path, capsys):
    write_run(RunFolder(tmp_path / "run"), flyover_run)
    about = tmp_path / "about.toml"
    command = ("bundle", tmp_path / "run", "--out", tmp_path / "x.vidtag", "--about", about)
    check_refused(capsys, 3, [str(about)], *command)
    about.write_text("version =", "utf-8")
    check_refused(capsys, 3, [str(about)], *command)
