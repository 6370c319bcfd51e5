from __future__ import annotations

import dataclasses
import json

import pytest
import typer
from fake_cuda import FakeCudaRuntime
from fake_tensorrt import fake_gpu, location_encoder_in_parts
from tiny_bundle import write_tiny_bundle
from typer.testing import CliRunner

from vidtag_cli.bundle import installed_models
from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.contract import GRAPHS_OF_KIND, GraphVariant
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.commands.models import app
from vidtag_cli.errors import ModelError, OutputError, UsageError


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(installed_models, "PACKAGED_MODELS_DIR", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def source(machine):
    return write_tiny_bundle(machine / "downloads")


def models(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_an_empty_machine_lists_nothing_and_says_what_to_do():
    done = models("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "vidtag models install PATH" in done.stderr
    assert json.loads(models("list", "--json").stdout) == {"models": []}


def test_install_then_list_info_verify(source):
    done = models("install", source, "--json")
    target = json.loads(done.stdout)
    assert target["name"] == "tiny"
    (listed,) = json.loads(models("list", "--json").stdout)["models"]
    assert (listed["name"], listed["kind"], listed["origin"], listed["problem"]) == ("tiny", "vidtag", "installed", "")
    assert listed["path"] == target["path"]
    assert "tiny" in models("list").stdout

    info = json.loads(models("info", "tiny", "--json").stdout)
    assert info["bundle"]["domain"] == "random weights; knows nothing"
    assert info["bundle"]["window"] == {"frames": 16, "overlap_frames": 8}
    assert "random weights; knows nothing" in models("info", "tiny").stdout

    verified = json.loads(models("verify", "tiny", "--json").stdout)
    assert verified["ok"] is True
    assert {entry["status"] for entry in verified["files"]} == {"ok"}
    assert verified["sha256"] == info["sha256"]


def test_a_changed_file_is_shown_and_ends_with_6(source):
    (source / "tempgeo.onnx").write_bytes(b"x")
    done = models("verify", source)
    assert isinstance(done.exception, ModelError) and "tempgeo.onnx" in str(done.exception)
    assert "changed" in done.stdout
    as_json = models("verify", source, "--json")
    assert "not as bundle.json describes it" in as_json.stderr  # who looks at stderr alone learns it too
    assert as_json.exit_code == 6
    assert as_json.stdout.count("\n") == 1
    assert json.loads(as_json.stdout)["ok"] is False


def test_installing_twice_needs_force(source):
    models("install", source)
    again = models("install", source)
    assert isinstance(again.exception, OutputError)
    assert models("install", source, "--force").exit_code == 0


def test_a_hostile_description_cannot_steer_the_terminal(machine):
    source = write_tiny_bundle(machine / "downloads", domain="\x1b]0;owned\x07", version="\x1b[31m")
    for command in (("info", source), ("install", source), ("list",)):
        assert "\x1b" not in models(*command).stdout


@pytest.fixture
def with_parts(source, tmp_path):
    """The tiny bundle with a location encoder that needs no float64, as exports for TensorRT have."""
    contract = read_bundle_json(source)
    path = source / "location_encoder.parts.onnx"
    path.write_bytes(location_encoder_in_parts().SerializeToString())
    variant = GraphVariant(path.name, sha256_of(path), "fp32", float64_as_parts=True)
    graph = dataclasses.replace(contract.graphs["location_encoder"], variants=(variant,))
    graphs = contract.graphs | {"location_encoder": graph}
    write_bundle_json(source, dataclasses.replace(contract, graphs=graphs))
    return source


def test_compile_builds_every_graph_once_and_prints_what_it_took(with_parts, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt") as trt:
        done = models("compile", with_parts, "--engine", "tensorrt", "--json")
        compiled = json.loads(done.stdout)
        assert (compiled["name"], compiled["engine"], compiled["version"]) == ("tiny", "tensorrt", "10.14.1")
        assert [engine["graph"] for engine in compiled["engines"]] == list(GRAPHS_OF_KIND["vidtag"])
        for engine in compiled["engines"]:
            assert engine["is_new"] and engine["size_bytes"] > 100 and engine["peak_bytes"] > 10e6
            assert engine["build_seconds"] >= 0 and engine["target"] == "sm89" and engine["precision"] == "fp32"
        assert done.stderr.count("building the engine") == 4
        again = models("compile", with_parts, "--engine", "tensorrt")
        assert again.stdout.count("cached") == 4 and len(trt.built) == 4
        assert models("compile", with_parts, "--engine", "tensorrt", "--force").stdout.count("built") == 4
        assert len(trt.built) == 8


def test_compile_builds_for_gpus_that_are_not_here(with_parts, monkeypatch):
    no_gpu = FakeCudaRuntime()
    no_gpu.fail_with["cudaGetDeviceCount"] = no_gpu.cudaError_t.cudaErrorInsufficientDriver
    with fake_gpu(monkeypatch, "tensorrt_rtx", cuda=no_gpu) as trt:
        missing = models("compile", with_parts, "--engine", "tensorrt_rtx")
        assert isinstance(missing.exception, UsageError) and "give --target, such as sm120" in str(missing.exception)
        done = models("compile", with_parts, "--engine", "tensorrt_rtx", "--target", "sm89, SM120", "--json")
        targets = [(engine["graph"], engine["target"]) for engine in json.loads(done.stdout)["engines"]]
        assert len(targets) == 8 and targets[:2] == [("dual_encoder", "sm89"), ("dual_encoder", "sm120")]
        assert {built["target"] for built in trt.built} == {"SM89", "SM120"}


def test_compile_refuses_what_it_cannot_build(with_parts, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt_rtx"):
        unknown = models("compile", with_parts, "--engine", "tensorrt_rtx", "--target", "sm90")
        assert isinstance(unknown.exception, UsageError) and "builds for sm75" in str(unknown.exception)
        precision = models("compile", with_parts, "--engine", "tensorrt_rtx", "--precision", "int4")
        assert isinstance(precision.exception, ModelError) and "only in fp32" in str(precision.exception)
    assert models("compile", with_parts, "--engine", "onnxruntime").exit_code == 2


def test_compile_of_a_model_that_needs_float64_says_so(source, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt"):
        done = models("compile", source, "--engine", "tensorrt")
    assert isinstance(done.exception, ModelError) and "location_encoder computes in float64" in str(done.exception)


def test_compile_for_tensorrt_needs_its_gpu(with_parts, monkeypatch):
    no_gpu = FakeCudaRuntime(count=0)
    with fake_gpu(monkeypatch, "tensorrt", cuda=no_gpu):
        done = models("compile", with_parts, "--engine", "tensorrt")
    assert isinstance(done.exception, ModelError) and "builds on the GPU that will run the engine" in str(
        done.exception
    )


def test_compile_quietly_prints_the_result_only(with_parts, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt"):
        done = models("compile", with_parts, "--engine", "tensorrt", "--quiet", "--json")
    assert done.stderr == "" and done.stdout.count("\n") == 1


def test_the_group_has_a_help_text():
    main = typer.Typer(rich_markup_mode=None)
    main.add_typer(app, name="models")
    done = CliRunner().invoke(main, ["models", "--help"])
    assert all(name in done.stdout for name in ("list", "info", "verify", "install", "compile"))
