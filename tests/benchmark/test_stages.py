"""A benchmark of a real (tiny) model on a real clip: every stage is there, and saved runs are compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.benchmark import stages
from vidtag_cli.benchmark.random_weights import check_random, find_random_model
from vidtag_cli.benchmark.record import bench_record, changes_of_machine, compare_with_saved, read_bench_record
from vidtag_cli.benchmark.stages import STAGES, Benchmark, run_benchmark
from vidtag_cli.engines.onnxruntime_engine import usable_cpus
from vidtag_cli.errors import InputError, ModelError, UsageError
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.session import Session, open_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return open_session(write_tiny_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=5.0, fps=4)


@pytest.fixture(scope="module")
def benchmark_of_clip(session: Session, clip: Path) -> Benchmark:
    return run_benchmark(clip, session, LocateOptions(all_frames=True, batch_frames=8), 4, "onnxruntime")


def test_every_stage_and_the_whole_have_every_round(benchmark_of_clip: Benchmark) -> None:
    found = benchmark_of_clip
    assert tuple(found.stages) == STAGES
    assert found.frames == 20
    for timing in (*found.stages.values(), found.end_to_end):
        assert timing.frames == 20
        assert len(timing.wall_s) == len(timing.core_s) == 4
        assert min(timing.wall_s) > 0.0
    assert found.real_time_factor() == pytest.approx(5.0 / found.end_to_end.median_s())
    assert found.overlap_ratio() is not None
    assert found.peak_memory_bytes > 2**24


def test_a_part_of_a_long_video_gives_no_overlap_ratio(
    session: Session, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "MAX_FRAMES", 6)
    found = run_benchmark(clip, session, LocateOptions(all_frames=True, batch_frames=4), 1, "onnxruntime")
    assert (found.frames, found.stages["encode"].frames) == (20, 6)
    assert found.overlap_ratio() is None


def test_a_record_can_be_saved_and_compared_with(benchmark_of_clip: Benchmark, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(bench_record([benchmark_of_clip], {"cores": 1}), allow_nan=False))
    comparisons = compare_with_saved(benchmark_of_clip, read_bench_record(saved))
    assert [comparison.stage for comparison in comparisons] == [*STAGES, "end to end"]
    assert {comparison.verdict for comparison in comparisons} == {"same"}
    assert {comparison.speedup for comparison in comparisons} == {1.0}


@pytest.mark.parametrize(("key", "value"), [
    ("batch_frames", 99), ("model", "other"), ("frames", 1), ("threads", 99), ("device", "cuda:7"),
    ("precision", "fp16"), ("gallery_points", 3), ("gallery_sha256", "ab"),
])  # fmt: skip
def test_other_work_is_not_compared(benchmark_of_clip: Benchmark, key: str, value: object) -> None:
    saved = bench_record([benchmark_of_clip], {})
    saved["runs"][0][key] = value
    with pytest.raises(UsageError, match=rf"no run of the same work \({key} {value} then, [^;]* now\): run it"):
        compare_with_saved(benchmark_of_clip, saved)


def test_a_record_says_what_ran(benchmark_of_clip: Benchmark, session: Session) -> None:
    (run,) = bench_record([benchmark_of_clip], {})["runs"]
    assert (run["device"], run["precision"], run["gallery_points"]) == ("cpu", "fp32", session.gallery.points)
    assert run["threads"] == usable_cpus()
    assert run["gallery_sha256"] == session.gallery.contract.files["embeddings.npy"].sha256


def test_another_machine_is_named() -> None:
    before = {"cores": 2, "ffmpeg": "5.1.9", "gpus": [], "packages": {"numpy": "2.0", "av": "14"}}
    now = {"cores": 2, "ffmpeg": "9.0.2", "gpus": [{"name": "H100", "driver": "1"}], "packages": {"numpy": "2.0"}}
    assert changes_of_machine(now, before) == [
        "ffmpeg: 5.1.9 then, 9.0.2 now", "gpus: none then, H100 now", "av: 14 then, none now",
    ]  # fmt: skip
    assert changes_of_machine(now, now) == []


@pytest.mark.parametrize("wall_s", [[], [float("nan")], ["1"], None, [True], [-1.0]])
def test_a_record_without_times_is_damaged(benchmark_of_clip: Benchmark, tmp_path: Path, wall_s: object) -> None:
    record = json.loads(json.dumps(bench_record([benchmark_of_clip], {})))
    record["runs"][0]["stages"]["search"]["wall_s"] = wall_s
    (tmp_path / "x.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"x\.json: is damaged"):
        read_bench_record(tmp_path / "x.json")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "vidtag-bench/1"}'])
def test_a_file_that_is_no_benchmark_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        read_bench_record(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_bench_record(tmp_path / "none.json")


def test_a_missing_model_of_random_weights_is_told_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelError, match=r"python -m export onnx random:paper --out random-paper\.vidtag"):
        find_random_model("paper")
    (tmp_path / "random-paper.vidtag").mkdir()
    assert find_random_model("paper") == Path("random-paper.vidtag")


def test_a_trained_model_is_not_quoted_as_random(session: Session) -> None:
    with pytest.raises(ModelError, match="no random weights"):
        check_random(session.bundle)
