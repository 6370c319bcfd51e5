"""What is said to whoever types something wrong: one line with what, where and what to do, and an exit code."""

import json

import numpy as np
import pytest
import typer
from finished_run import write_run

from training.__main__ import app, main
from training.command_line import make_app, run_app

COMMANDS = sorted(typer.main.get_command(app).commands)


def said(capsys, *arguments):
    """Return the exit code of a command, and the lines that it wrote to stderr."""
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err.splitlines()


def check_refused(capsys, code, words, *arguments):
    """Assert that a command ends with a code and one line that has these words."""
    found, lines = said(capsys, *arguments)
    assert found == code, lines
    assert len(lines) == 1 and lines[0].startswith("training: error: "), lines
    for word in words:
        assert word in lines[0], lines


@pytest.mark.parametrize("command", [[], ["data", "check"], *([name] for name in COMMANDS)])
def test_every_command_answers_to_h(command, capsys):
    assert main([*command, "-h"]) == 0
    assert "Usage: python -m training" in capsys.readouterr().out


def with_preset(preset, folder):
    """Return every command that reads a preset, with this one."""
    out = ("--out", folder / "out")
    return [
        ("flyover", *out, "--preset", preset),
        ("demo-clip", *out, "--preset", preset),
        ("benchmark", "--preset", preset),
        ("train", "--data", "msls=x", "--cache", folder, *out, "--preset", preset),
        ("ablations", "--run", folder, "--preset", preset),
    ]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 2, ["presets are flyover, paper"]),
        ('base = "papper"', 3, ["base 'papper'", "presets are"]),
        ('base = "paper"\nphase_won = 1', 3, ["unknown key", "phase_won"]),
        ('name = "mine"', 3, ["missing"]),
        ('base = "paper"\nseed = "one"', 3, ["seed"]),
        ("seed =", 3, ["not TOML"]),
        (b"\xff\xfe", 3, ["not TOML"]),
    ],
)
def test_a_preset_that_is_none_is_named(content, code, words, tmp_path, capsys):
    preset = tmp_path / "mine.toml"
    if content is not None:
        preset.write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in with_preset(preset, tmp_path):
        check_refused(capsys, code, ["mine.toml", *words], *command)


def test_a_preset_for_other_data_is_refused(tmp_path, capsys):
    for command in ("flyover", "demo-clip"):
        check_refused(capsys, 2, ["paper", "[flights]"], command, "--out", tmp_path / "out", "--preset", "paper")


@pytest.mark.parametrize("command", ["predict", "classify"])
@pytest.mark.parametrize("state", ["missing", "empty", "config", "splits", "weights", "gallery"])
def test_a_folder_that_is_no_finished_run_is_named(command, state, tmp_path, capsys):
    run = tmp_path / "run"
    if state != "missing":
        write_run(run, held_out=["a"])
    final = run / "final"
    damage = {
        "config": "config.json",
        "splits": "splits.json",
        "weights": "weights.safetensors",
        "gallery": "gallery_latlon.npy",
    }
    if state == "empty":
        for path in final.iterdir():
            path.unlink()
    elif state in damage:
        (final / damage[state]).write_text("" if state == "gallery" else "{", "utf-8")
    words = [str(run), "continue it"] if state in ("missing", "empty") else [damage[state]]
    cache = tmp_path / "cache"
    write_cache(cache / "x")
    check_refused(capsys, 3, words, command, "--run", run, "--data", "x", "--cache", cache, "--out", tmp_path / "out")


def write_cache(folder, **damage):
    """Write the files of an empty cache, with other contents of some of them."""
    folder.mkdir(parents=True)
    identity = {"weights": "", "preprocessing": "", "listing": "", "feature_dim": 4}
    (folder / "cache.json").write_text(json.dumps({"identity": identity, "rows_per_shard": 8}), "utf-8")
    (folder / "clips.json").write_text("[]", "utf-8")
    for name, array in {
        "latlon_deg": np.zeros((0, 2)),
        "time_s": np.zeros(0),
        "offsets": np.zeros(1, np.int64),
    }.items():
        np.save(folder / f"{name}.npy", array)
    for name, content in damage.items():
        next(folder.glob(f"{name}.*"), folder / f"{name}.jsonl").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ({"cache": b"{"}, "cache.json"),
        ({"cache": b"{}"}, "cache.json"),
        ({"cache": b'{"identity": {"width": 3}, "rows_per_shard": 8}'}, "cache.json"),
        ({"clips": b"[1]"}, "listing"),
        ({"offsets": b"no array"}, "listing"),
        ({"offsets": b""}, "listing"),
        ({"journal": b"no journal\n"}, "journal.jsonl"),
        ({"journal": b'{"rows": 3}\n'}, "give the command that began it once more"),
        (None, "NAME=PATH"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "classify"])
def test_a_cache_that_cannot_be_read_is_named(command, damage, word, tmp_path, capsys):
    run = write_run(tmp_path / "run")
    cache = tmp_path / "cache"
    if damage is not None:
        write_cache(cache / "x", **damage)
    check_refused(
        capsys, 3, [str(cache / "x"), word], command, "--run", run, "--data", "x", "--cache", cache,
        "--out", tmp_path / "out",
    )  # fmt: skip


def test_files_of_other_commands_that_are_not_there_are_named(tmp_path, capsys):
    missing = tmp_path / "missing"
    check_refused(capsys, 3, [str(missing)], "evaluate", missing, "--out", tmp_path / "out")
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY"):
        (tmp_path / "answers.npz").write_bytes(content)
        check_refused(capsys, 3, ["answers.npz"], "evaluate", tmp_path / "answers.npz", "--out", tmp_path / "out")
    check_refused(capsys, 3, [str(missing)], "figure", missing, missing, "--out", tmp_path / "a.png")
    check_refused(capsys, 3, [str(missing), "training flyover"], "ablations", "--run", missing)
    check_refused(capsys, 3, [str(missing)], "data", "check", missing)
    check_refused(capsys, 3, [str(missing)], "ablations", "--run", tmp_path, "--plan", missing)
    track = tmp_path / "track.geojson"
    for content in ("{", "{}", '{"features": []}'):
        track.write_text(content, "utf-8")
        check_refused(capsys, 3, [str(track)], "figure", track, missing, "--out", tmp_path / "a.png")


def test_an_output_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    check_refused(capsys, 5, [str(tmp_path / "file")], "demo-clip", "--out", tmp_path / "file" / "out")


def test_a_device_that_nobody_knows_is_refused(capsys):
    check_refused(capsys, 2, ["--device abacus"], "benchmark", "--device", "abacus")


def test_a_bug_is_no_line_of_its_own_but_a_traceback():
    broken = make_app(None)

    @broken.command()
    def crash():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_app(broken, "training", [])


def test_a_message_cannot_forge_another_line(capsys):
    assert main(["benchmark", "--preset", "a\x1b[31m\rb"]) == 2
    assert "\x1b" not in capsys.readouterr().err
