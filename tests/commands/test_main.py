"""Errors, signals and closed pipes as a shell script sees them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from vidtag_cli import __main__ as program
from vidtag_cli import errors
from vidtag_cli.commands import console
from vidtag_cli.commands.interruption import HANDLED

ROOT = Path(__file__).resolve().parents[2]

FAMILY = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.VidtagError)]


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs vidtag with one command, ``do``, whose body is given."""

    def run_with(body, *arguments):
        def build_app():
            app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

            @app.command("do")
            def do(
                names: list[str] = typer.Argument(None),  # noqa: B008
                as_json: bool = typer.Option(False, "--json"),
                limit: int = typer.Option(0),
            ) -> None:
                body(names)

            @app.command("other")
            def other() -> None:
                pass

            return app

        monkeypatch.setattr(program, "build_app", build_app)
        return program.main(["do", *arguments])

    return run_with


def raising(error):
    def body(names):
        raise error

    return body


@pytest.mark.parametrize("kind", FAMILY)
def test_each_error_has_its_exit_code_and_one_line_on_stderr(run, capsys, kind):
    assert run(raising(kind("clip.mp4: broken; try another"))) == kind.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "vidtag: error: clip.mp4: broken; try another\n"


def test_the_exit_codes_are_those_that_were_published():
    codes = {kind.__name__: kind.exit_code for kind in FAMILY}
    assert codes == {
        "VidtagError": 1,
        "UsageError": 2,
        "InputError": 3,
        "VideoError": 4,
        "OutputError": 5,
        "ModelError": 6,
        "ResourceError": 6,
        "EvidenceError": 7,
    }


def test_with_json_the_error_is_an_object_on_stdout_as_well(run, capsys):
    assert run(raising(errors.ModelError("gone")), "--json") == 6
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": {"exit_code": 6, "kind": "ModelError", "message": "gone"}}
    assert captured.err == "vidtag: error: gone\n"


def test_wrong_usage_is_2_and_an_object_too(run, capsys):
    assert run(lambda names: None, "--json", "--limit", "many") == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)["error"]
    assert found["exit_code"] == 2 and found["kind"] == "UsageError" and "--limit" in found["message"]
    assert "--limit" in captured.err


def test_an_unexpected_error_is_one_line_and_1(run, capsys):
    assert run(raising(ZeroDivisionError("division\nby zero"))) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "unexpected ZeroDivisionError: division by zero" in captured.err
    assert "--debug" in captured.err and "Traceback" not in captured.err


@pytest.mark.parametrize("arguments", [("--debug",), ("name", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(run, capsys, arguments):
    assert run(raising(ZeroDivisionError("x")), *arguments) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_by_the_environment(run, capsys, monkeypatch):
    monkeypatch.setenv("VIDTAG_DEBUG", "1")
    assert run(raising(errors.InputError("x"))) == 3
    assert "Traceback" in capsys.readouterr().err


def test_after_two_dashes_everything_is_a_name(run, capsys):
    seen = []
    assert run(seen.extend, "--", "--debug", "--json", "-x.mp4") == 0
    assert seen == ["--debug", "--json", "-x.mp4"]


def test_a_command_chooses_its_own_exit_code(run):
    assert run(raising(typer.Exit(errors.ALL_FRAMES_ABSTAINED))) == 8
    assert run(lambda names: None) == 0


def test_a_message_cannot_colour_the_terminal(run, capsys):
    run(raising(errors.InputError("\x1b[31mred\nvidtag: forged")))
    assert capsys.readouterr().err == "vidtag: error: \\x1b[31mred\\nvidtag: forged\n"


def hostile_error():
    error = errors.InputError("\x1b[2Ja\nvidtag: error: forged.mp4: broken")
    error.add_note("\x1b]0;title\x07\nvidtag: error: forged by a note")
    error.__cause__ = OSError(5, "Input/output error", "b\x9b\nforged by a cause")
    return error


@pytest.mark.parametrize("arguments", [(), ("--debug",)])
def test_a_name_cannot_steer_the_terminal_by_any_way_to_it(run, capsys, arguments):
    """By the message, by a note, by what led to it: with the traceback as without."""
    assert run(raising(hostile_error()), *arguments) == 3
    said = capsys.readouterr().err
    assert all(character == "\n" or character.isprintable() for character in said)
    assert not [line for line in said.splitlines() if line.lstrip().startswith(("forged", "vidtag: error: forged"))]
    assert ("Traceback" in said, "note: \\x1b]0;title" in said) == ((True, True) if arguments else (False, False))


def test_the_log_of_a_library_is_escaped_too(run, capsys):
    def body(names):
        console.set_verbosity()
        logging.getLogger("library").warning("cannot read %s", "a\x1b[31m\nvidtag: error: forged")

    run(body)
    assert capsys.readouterr().err == "vidtag: WARNING: cannot read a\\x1b[31m\\nvidtag: error: forged\n"


def test_wrong_usage_cannot_steer_the_terminal_either(run, capsys):
    assert run(lambda names: None, "--no-such\x1b[31m\nvidtag: error: forged") == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and said.count("\n") == 4
    assert said.splitlines()[-1].startswith("vidtag: error: No such option: --no-such\\x1b[31m\\x0avidtag")


@pytest.mark.parametrize("arguments", [("",), ("name", ""), ("--limit=",), ("--", "")])
def test_an_empty_argument_is_no_path(run, capsys, arguments):
    """As a path it would be the working folder: ``--out-dir "$OUT"`` wrote there when the variable was not set."""
    seen = []
    assert run(seen.extend, *arguments) == 2
    assert seen == []
    assert "is empty: a variable of the shell may not be set" in capsys.readouterr().err


def test_a_name_that_begins_with_a_dash_is_told_how_to_be_written(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-clip.mp4").touch()
    assert run(lambda names: None, "-clip.mp4") == 2
    assert "is written ./-clip.mp4" in capsys.readouterr().err


def test_a_video_without_a_command_is_told_which(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").touch()
    assert program.main(["clip.mp4"]) == 2
    assert "No such command 'clip.mp4'. To locate a video: vidtag locate clip.mp4" in capsys.readouterr().err


def test_choices_are_said_on_one_line(capsys):
    assert program.main(["models", "compile", "flyover"]) == 2
    assert capsys.readouterr().err.endswith("Missing option '--engine'. Choose from: tensorrt, tensorrt_rtx\n")


def test_the_end_of_a_damaged_file_is_no_wish_to_abort(run, capsys):
    """Typer takes every EOFError for somebody who closes stdin: "Aborted!", and code 1 without a reason."""
    assert run(raising(EOFError("No data left in file"))) == 1
    said = capsys.readouterr().err
    assert "unexpected EOFError: No data left in file" in said and "Aborted" not in said


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 3 GiB"), OSError(24, "Too many open files")])
def test_what_ran_out_is_no_bug(run, capsys, error):
    assert run(raising(error), "--json") == 6
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["kind"] == "ResourceError"
    assert "bug" not in captured.err and captured.err.count("\n") == 1


def test_a_closed_pipe_is_quiet(run, capfd):
    body = raising(BrokenPipeError(32, "Broken pipe"))
    real = os.dup(1)
    try:
        assert run(body) == 141
    finally:
        os.dup2(real, 1)
        os.close(real)
    assert capfd.readouterr().err == ""


def test_the_handlers_of_the_caller_are_put_back(run):
    before = [signal.getsignal(number) for number in HANDLED]
    run(lambda names: None)
    assert [signal.getsignal(number) for number in HANDLED] == before


SCRIPT = """
import sys, time
from pathlib import Path
from vidtag_cli import __main__ as program
import typer

def build_app():
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    @app.command()
    def wait(temporary: Path) -> None:
        temporary.write_text("x")
        try:
            print("started", flush=True)
            for _ in range(600):
                time.sleep(0.1)
        finally:
            {clean_up}
    return app

program.build_app = build_app
sys.exit(program.main())
"""

REMOVE = "temporary.unlink()"
HANG = "print('cleaning', flush=True); time.sleep(60)"


def start(tmp_path, clean_up, **options):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("{clean_up}", clean_up), str(tmp_path / "temporary")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_signal_that_a_library_made_an_error_of_keeps_its_code(run, capsys):
    """As the import of an extension module does with the exception that a signal raises in it."""

    def body(names):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except SystemExit as signalled:
            raise ImportError("initialization failed") from signalled

    assert run(body, "--json") == 143
    captured = capsys.readouterr()
    assert captured.out == "" and "initialization" not in captured.err


def test_a_signal_that_comes_where_none_can_be_raised_comes_again(run, capfd):
    class Thing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)

    def body(names):
        things = [Thing()]
        things.clear()
        for _ in range(50):
            time.sleep(0.1)

    assert run(body) == 143
    assert capfd.readouterr().err == "vidtag: interrupted, cleaning up; once more to stop at once\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_cleans_up_and_has_its_code(tmp_path, number, code):
    # Under nohup the signal would come in ignored, and stay so on purpose.
    process = start(tmp_path, REMOVE, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == "vidtag: interrupted, cleaning up; once more to stop at once\n"
    assert not (tmp_path / "temporary").exists()


def test_a_second_signal_skips_the_clean_up(tmp_path):
    process = start(tmp_path, HANG)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_ctrl_c_while_modules_are_imported_prints_no_traceback():
    script = """
import signal, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "vidtag_cli.commands.console":
            print(signal.getsignal(signal.SIGINT) is signal.SIG_DFL)
sys.meta_path.insert(0, Watch())
signal.signal(signal.SIGINT, signal.default_int_handler)
import vidtag_cli.__main__
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\nTrue\n"


def test_a_signal_that_was_ignored_stays_ignored(tmp_path):
    process = start(tmp_path, REMOVE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
