from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import onnx
import pytest
from fake_cuda import FakeCudaRuntime
from fake_tensorrt import fake_gpu
from tiny_bundle import example_inputs, write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.engines import BuildObserver, open_engine
from vidtag_cli.engines.cuda_runtime import open_cuda
from vidtag_cli.engines.engine_build import BuildRequest
from vidtag_cli.engines.engine_files import engine_store, ready_engine
from vidtag_cli.engines.engine_key import digest_of, engine_facts, target_named, target_of_gpu
from vidtag_cli.engines.profiles import profiles_of
from vidtag_cli.engines.tensorrt_library import import_tensorrt
from vidtag_cli.errors import ModelError, UsageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def graph(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]


@pytest.fixture
def trt(home, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt") as module:
        yield module


@pytest.fixture
def said():
    return []


def opened(graph, said, **changes):
    return open_engine(graph, "tensorrt", observer=BuildObserver(said.append), **changes)


def engine_file(home) -> Path:
    (path,) = (home / "cache" / "engines").glob("*.engine")
    return path


def test_the_first_use_builds_and_says_so_the_second_says_nothing(graph, trt, said):
    assert opened(graph, said).describe()["engine_built_now"] is True
    assert len(said) == 1 and "tempgeo (tensorrt for NVIDIA Fake 4090): building the engine" in said[0]
    assert opened(graph, said).describe()["engine_built_now"] is False
    assert len(said) == 1 and len(trt.built) == 1


DAMAGES = {
    "foreign": (lambda path: path.with_name(path.name + ".json").unlink(), b"fake engine", "no manifest"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:50]), b"", "cut short or changed"),
    "corrupt": (lambda path: path.write_bytes(b"evil" + path.read_bytes()[4:]), b"evil", "cut short or changed"),
}


@pytest.mark.parametrize(("damage", "start", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_an_engine_this_program_did_not_build_is_rebuilt_and_never_loaded(
    graph, trt, home, said, damage, start, reason
):
    opened(graph, said)
    path = engine_file(home)
    damage(path)
    bad = path.read_bytes()
    trt.deserialized.clear()
    engine = opened(graph, said)
    assert len(trt.built) == 2 and len(trt.deserialized) == 1
    assert trt.deserialized[0] != bad or reason == "no manifest"
    (line,) = said[1:]
    assert reason in line and "building it again" in line and "\n" not in line
    assert engine.run(example_inputs(graph, {"B": 1, "T": 3}))["frame_embedding"].shape == (1, 3, 4)
    assert opened(graph, said).describe()["engine_built_now"] is False


def test_an_engine_dropped_in_with_a_manifest_of_its_own_is_not_loaded(graph, trt, home, said):
    opened(graph, said)
    path = engine_file(home)
    manifest = path.with_name(path.name + ".json")
    evil = b"fake engine evil"
    path.write_bytes(evil)
    fields = json.loads(manifest.read_text()) | {"sha256": hashlib.sha256(evil).hexdigest()}
    manifest.write_text(json.dumps(fields))
    opened(graph, said)
    assert evil not in trt.deserialized and "not sealed with this user's key" in said[1]


def test_a_cache_from_another_machine_is_built_again(graph, trt, home, said):
    opened(graph, said)
    (home / "engine-seal.key").unlink()
    opened(graph, said)
    assert len(trt.built) == 2 and "not sealed with this user's key" in said[1]


def test_an_engine_that_the_library_refuses_is_built_again_once(graph, trt, said):
    opened(graph, said)
    trt.refuse_to_load = 1
    opened(graph, said)
    assert len(trt.built) == 2 and "tensorrt refuses it (engine of version 10.14.1" in said[1]


def test_a_new_engine_that_the_library_refuses_is_an_error_with_its_reason(graph, trt, said):
    trt.refuse_to_load = 2
    with pytest.raises(
        ModelError, match="built an engine and refuses to load it on NVIDIA Fake 4090: engine of version"
    ):
        opened(graph, said)


def facts_of(graph, window_frames=16, gpu=None):
    library = import_tensorrt("tensorrt")
    target = target_of_gpu(library, gpu or open_cuda().find_gpu("cuda"))
    return engine_facts(library, graph, profiles_of(graph, window_frames), target)


def test_the_key_changes_with_everything_that_an_engine_depends_on(graph, trt, tmp_path):
    gpu = open_cuda().find_gpu("cuda")
    keys = {digest_of(facts_of(graph))}
    keys.add(digest_of(facts_of(graph, window_frames=24)))
    keys.add(digest_of(facts_of(dataclasses.replace(graph, precision="fp16"))))
    keys.add(digest_of(facts_of(graph, gpu=dataclasses.replace(gpu, name="Another"))))
    keys.add(digest_of(facts_of(graph, gpu=dataclasses.replace(gpu, driver="CUDA 13.1"))))
    keys.add(digest_of(facts_of(graph, gpu=dataclasses.replace(gpu, compute_capability=(9, 0)))))
    trt.__version__ = "11.4.0"
    keys.add(digest_of(facts_of(graph)))
    assert len(keys) == 7 and digest_of(facts_of(graph)) in keys
    onnx.save_model(
        onnx.load(graph.path), graph.path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    facts = facts_of(graph)
    assert facts["weights_sha256"] == {"weights.bin": sha256_of(graph.path.with_name("weights.bin"))}
    assert facts["graph_sha256"] == sha256_of(graph.path)
    keys.add(digest_of(facts))
    weights = graph.path.with_name("weights.bin")
    weights.write_bytes(bytes(byte ^ 1 for byte in weights.read_bytes()))
    keys.add(digest_of(facts_of(graph)))
    assert len(keys) == 9


def test_weights_that_are_gone_are_named(graph, trt, said):
    onnx.save_model(
        onnx.load(graph.path), graph.path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    graph.path.with_name("weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights\.bin: cannot be read .*install the model again"):
        opened(graph, said)


def test_another_library_version_leaves_the_old_engine_and_builds_its_own(graph, home, monkeypatch, said):
    for version in ("10.14.1", "11.4.0", "10.14.1"):
        with fake_gpu(monkeypatch, "tensorrt", version):
            opened(graph, said)
    assert len(said) == 2


def test_what_was_built_for_a_named_target_serves_every_gpu_of_that_kind(graph, home, monkeypatch, said):
    with fake_gpu(monkeypatch, "tensorrt_rtx", "1.7.1") as module:
        library = import_tensorrt("tensorrt_rtx")
        request = BuildRequest(library, graph, profiles_of(graph, 16), target_named(library, "SM89"))
        ready_engine(request, BuildObserver(said.append), engine_store())
        assert module.built[0]["target"] == "SM89"
        for name in ("GeForce RTX 4090", "L40S"):
            cuda = FakeCudaRuntime(name, (8, 9))
            with fake_gpu(monkeypatch, "tensorrt_rtx", "1.7.1", cuda):
                open_engine(graph, "tensorrt_rtx", window_frames=16, observer=BuildObserver(said.append))
    assert len(said) == 1


def test_a_target_that_there_is_not_is_named_with_those_there_are(home, monkeypatch):
    known = "sm90: tensorrt_rtx 10.14.1 builds for sm75, sm86, sm89, sm120"
    with fake_gpu(monkeypatch, "tensorrt_rtx"), pytest.raises(UsageError, match=known):
        target_named(import_tensorrt("tensorrt_rtx"), "sm90")
    only_here = "tensorrt builds for the GPU in this machine only"
    with fake_gpu(monkeypatch, "tensorrt"), pytest.raises(UsageError, match=only_here):
        target_named(import_tensorrt("tensorrt"), "sm89")


def test_kernel_timings_are_kept_for_the_next_build(graph, trt, home, said):
    opened(graph, said)
    opened(graph, said, window_frames=8)
    assert [built["timing"] for built in trt.built] == [b"", b"timed "]


def test_kernel_timings_of_another_driver_are_dropped(graph, trt, home, said, monkeypatch):
    opened(graph, said)
    (timing,) = (home / "cache" / "engines").glob("*.timing")
    engine_store().save(timing.name, b"other gpu", {})
    opened(graph, said, window_frames=8)
    assert trt.built[1]["timing"] == b""


def test_a_timing_cache_that_this_program_did_not_write_is_not_used(graph, trt, home, said):
    opened(graph, said)
    (timing,) = (home / "cache" / "engines").glob("*.timing")
    timing.write_bytes(b"evil")
    opened(graph, said, window_frames=8)
    assert trt.built[1]["timing"] == b""


def test_threads_limit_the_build(graph, trt, said):
    opened(graph, said, threads=3)
    assert trt.built[0]["threads"] == 3


def test_fp32_stays_fp32(graph, trt, said):
    opened(graph, said)
    assert trt.built[0]["flags"] == []  # TF32 is on until it is switched off


def test_a_damaged_cache_folder_is_only_a_new_build(graph, trt, home, said):
    opened(graph, said)
    shutil.rmtree(home / "cache")
    opened(graph, said)
    assert len(said) == 2


def test_a_build_makes_room_and_says_what_went(graph, trt, home, said, monkeypatch):
    opened(graph, said)
    old = engine_file(home)
    os.utime(old, (0, 0))
    monkeypatch.setenv("VIDTAG_ENGINE_CACHE_GB", "1e-9")
    trt.__version__ = "11.4.0"
    opened(graph, said)
    assert engine_file(home) != old
    assert said[-1].startswith("removed 1 files (0.0 GB) unused for longest")


def test_a_limit_that_is_none_is_refused_before_the_build(graph, trt, said, monkeypatch):
    monkeypatch.setenv("VIDTAG_ENGINE_CACHE_GB", "much")
    with pytest.raises(UsageError, match="VIDTAG_ENGINE_CACHE_GB"):
        opened(graph, said)
    assert trt.built == []
