from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import typer
from fake_cuda import FakeCudaRuntime
from fake_tensorrt import fake_gpu
from tiny_bundle import write_tiny_bundle
from typer.testing import CliRunner

from vidtag_cli.bundle import install_model, installed_models
from vidtag_cli.commands.doctor import doctor_command
from vidtag_cli.errors import InputError


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an ffmpeg and one packaged model."""
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDTAG_MODEL", raising=False)
    monkeypatch.setattr(installed_models, "PACKAGED_MODELS_DIR", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    set_ffmpeg(monkeypatch, lambda: SimpleNamespace(path="/usr/bin/ffmpeg", version="7.1"))
    write_tiny_bundle(tmp_path / "packaged", "flyover")
    return tmp_path


def set_ffmpeg(monkeypatch, find_ffmpeg):
    monkeypatch.setitem(sys.modules, "vidtag_cli.video.ffmpeg", SimpleNamespace(find_ffmpeg=find_ffmpeg))


def doctor(*arguments):
    app = typer.Typer(rich_markup_mode=None)
    app.command()(doctor_command)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_a_machine_that_can_run_is_said_to_be_ready(machine):
    done = doctor("--json")
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert (done.exit_code, found["ok"]) == (0, True)
    assert found["ffmpeg"] == {"version": "7.1", "problem": "", "path": "/usr/bin/ffmpeg"}
    assert all(package["found"] for package in found["packages"].values())
    assert {(e["name"], e["device"]): e["usable"] for e in found["engines"]}[("onnxruntime", "cpu")] is True
    assert [model["problem"] for model in found["models"]] == [""]
    assert "no model is named" in found["default_model"]["note"]
    assert found["folders"]["cache"] == str(machine / "home" / "cache")


def test_the_text_says_the_same(machine):
    done = doctor()
    assert done.exit_code == 0
    for part in ("onnxruntime on cpu: ready", "ffmpeg: 7.1", "flyover (packaged): hashes right", "tensorrt"):
        assert part in done.stdout
    assert done.stdout.endswith("\nready\n")


def test_the_room_that_engines_take_is_told(machine, monkeypatch):
    folder = machine / "home" / "cache" / "engines"
    folder.mkdir(parents=True)
    (folder / "a.engine").write_bytes(b"x" * 50_000_000)
    monkeypatch.setenv("VIDTAG_ENGINE_CACHE_GB", "2.5")
    assert "built engines: 0.1 GB of 2.5 GB at most" in doctor().stdout
    found = json.loads(doctor("--json").stdout)
    assert found["engine_cache"] == {"bytes": 50_000_000, "limit_bytes": 2_500_000_000, "problem": ""}
    monkeypatch.setenv("VIDTAG_ENGINE_CACHE_GB", "much")
    done = doctor()
    assert done.exit_code == 6
    assert "not ready: $VIDTAG_ENGINE_CACHE_GB is 'much'" in done.stdout


def test_every_route_to_a_gpu_is_named_with_what_it_lacks(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    no_gpu = FakeCudaRuntime()
    no_gpu.fail_with["cudaGetDeviceCount"] = no_gpu.cudaError_t.cudaErrorInsufficientDriver
    with fake_gpu(monkeypatch, "tensorrt_rtx", cuda=no_gpu):
        text, found = doctor().stdout, json.loads(doctor("--json").stdout)
    engines = {(engine["name"], engine["device"]): engine for engine in found["engines"]}
    assert "install vidtag-geo[gpu], which brings tensorrt" in engines["tensorrt", "cuda"]["reason"]
    assert "check the NVIDIA driver" in engines["tensorrt_rtx", "cuda"]["reason"]
    assert engines["tensorrt_rtx", "cuda"]["builds_for"] == ["sm75", "sm86", "sm89", "sm120"]
    assert ("onnxruntime_tensorrt", "cuda") in engines
    assert "builds engines ahead of time for sm75, sm86, sm89, sm120" in text


def test_a_gpu_that_can_be_used_is_said_to_be_ready(machine, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt"):
        assert "tensorrt on cuda: ready" in doctor().stdout


def test_no_ffmpeg_is_a_problem(machine, monkeypatch):
    def find_ffmpeg():
        raise InputError("no ffmpeg: install one")

    set_ffmpeg(monkeypatch, find_ffmpeg)
    done = doctor("--json")
    assert done.exit_code == 6
    assert json.loads(done.stdout)["problems"] == ["ffmpeg: no ffmpeg: install one"]


def test_a_missing_package_is_a_problem_and_names_the_extra(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    done = doctor("--json")
    (problem,) = json.loads(done.stdout)["problems"]
    assert done.exit_code == 6
    assert problem.startswith("faiss: ") and "vidtag-geo[cpu]" in problem


def test_no_onnxruntime_means_no_engine(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    problems = json.loads(doctor("--json").stdout)["problems"]
    assert any(problem.startswith("onnxruntime: ") for problem in problems)
    assert "no engine can run here" in problems


def test_two_wheels_of_one_module_are_a_problem(machine, monkeypatch):
    import importlib.metadata

    real = importlib.metadata.packages_distributions()
    both = real | {"onnxruntime": ["onnxruntime", "rich"]}  # rich stands for onnxruntime-gpu, which is not installed
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: both)
    problems = json.loads(doctor("--json").stdout)["problems"]
    assert any("overwrite each other" in problem for problem in problems)


def test_the_namesake_on_pypi_is_a_warning(machine, monkeypatch):
    """It has a command of the same name, so that whichever was installed last answers."""
    import importlib.metadata

    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.2" if name == "vidtag" else real(name))
    done, found = doctor(), json.loads(doctor("--json").stdout)
    assert "warning: the package vidtag 3.2 is installed too" in done.stdout
    assert "pip uninstall vidtag, then install vidtag-geo again" in found["warnings"][0]
    assert done.exit_code == 0


def test_without_a_namesake_there_is_no_warning(machine, monkeypatch):
    import importlib.metadata

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)
    assert json.loads(doctor("--json").stdout)["warnings"] == []


def test_a_damaged_model_is_a_problem(machine):
    target = install_model(write_tiny_bundle(machine / "downloads"))
    (target / "tempgeo.onnx").write_bytes(b"x")
    done = doctor("--json")
    assert done.exit_code == 6
    assert json.loads(done.stdout)["problems"] == ["model tiny: tempgeo.onnx: changed"]


def test_a_cache_that_cannot_be_written_is_a_problem(machine):
    (machine / "home").mkdir(exist_ok=True)
    (machine / "home" / "cache").write_text("in the way")
    done = doctor("--json")
    (problem,) = json.loads(done.stdout)["problems"]
    assert "the cache cannot be written" in problem
    assert done.exit_code == 6


def test_looking_at_the_cache_leaves_nothing_there(machine):
    before = sorted(machine.rglob("*"))
    assert doctor().exit_code == 0
    assert sorted(machine.rglob("*")) == before


def test_a_configuration_that_cannot_be_read_is_a_problem(machine):
    (machine / "vidtag.toml").write_text("model = 3")
    done = doctor("--json")
    (problem,) = json.loads(done.stdout)["problems"]
    assert "vidtag.toml" in problem
    assert done.exit_code == 6


def test_what_killed_runs_left_is_named_with_its_size(machine):
    assert json.loads(doctor("--json").stdout)["leftovers"] == []
    (machine / ".vidtag-0123456789abcdef.part").write_bytes(b"x" * 10)
    half_gallery = machine / "home" / "cache" / "galleries" / ".vidtag-fedcba9876543210.part"
    half_gallery.mkdir(parents=True)
    (half_gallery / "embeddings.npy").write_bytes(b"x" * 3_000_000)
    found = json.loads(doctor("--json").stdout)
    sizes = {left["path"]: left["bytes"] for left in found["leftovers"]}
    assert sizes == {str(machine / ".vidtag-0123456789abcdef.part"): 10, str(half_gallery): 3_000_000}
    assert found["ok"]
    assert f"{half_gallery}: 3.0 MB" in doctor().stdout
