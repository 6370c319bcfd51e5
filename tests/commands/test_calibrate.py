"""``vidtag calibrate`` with tiny models: what is written, what is refused, and what ``locate`` makes of the file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle
from tiny_geoclip_bundle import write_tiny_geoclip_bundle

from vidtag_cli.__main__ import main
from vidtag_cli.calibration import from_clips
from vidtag_cli.video.ffmpeg import find_ffmpeg

CLIPS, SECONDS = 8, 5


@dataclasses.dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "vidtag": write_tiny_bundle(folder, "tiny"),
        "geoclip": write_tiny_geoclip_bundle(folder, "tinyclip"),
    }


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight clips of one picture in eight files that differ by their titles, each with a truth beside it."""
    folder = tmp_path_factory.mktemp("clips")
    made = write_video(folder / "made.mp4", SECONDS, fps=1, size="32x32")
    paths = []
    for number in range(CLIPS):
        path = folder / f"clip{number}.mp4"
        command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-i", f"file:{made}", "-c", "copy"]
        subprocess.run([*command, "-metadata", f"title={number}", f"file:{path}"], check=True)
        rows = "".join(f"{second},{6 + number},{3 + 0.01 * second}\n" for second in range(SECONDS))
        path.with_suffix(".csv").write_text(f"time_s,lat,lon\n{rows}")
        paths.append(path)
    return paths


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "calibrate-cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Done:
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_clips, "CLIPS_PER_BIN", CLIPS // 2)
    monkeypatch.setattr(from_clips, "CLIPS_NEEDED", CLIPS)


def test_too_few_clips_are_counted_and_nothing_is_written(run: Run, models: dict[str, Path], clips: list[Path]) -> None:
    done = run("calibrate", models["vidtag"], *clips)
    assert done.code == 3
    assert "8 clips with known positions: 40 are needed, 20 to fit on and 20 others" in done.err
    assert "32 are missing; nothing was written" in done.err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("kind", ["vidtag", "geoclip"])
def test_locate_goes_by_the_file_and_names_it(
    run: Run, models: dict[str, Path], clips: list[Path], kind: str, tmp_path: Path
) -> None:
    model = models[kind]
    before = {path: path.read_bytes() for path in model.iterdir()}
    done = run("calibrate", model, *clips, "--json", "--seed", "3")
    assert done.code == 0, done.err
    path = tmp_path / f"{model.stem}.calibration.json"
    file = json.loads(path.read_text())
    assert json.loads(done.out)["calibration"] == file
    assert json.loads(done.out)["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    _check_contents(file, model, clips)
    assert {path: path.read_bytes() for path in model.iterdir()} == before
    output = tmp_path / "track.geojson"
    located = run("locate", clips[0], "--model", model, "--calibration", path, "--out", output)
    assert located.code in (0, 8), located.err
    assert f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" in located.err
    report = json.loads(next(tmp_path.glob("track*.report.json")).read_text())
    record = report["method"]["calibration"]
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [clip["sha256"] for clip in record["clips"]] == [clip["sha256"] for clip in file["clips"]]
    assert report["uncertainty_statement"]["coverage_measured"] == file["calibration"]["measured"]
    assert any(path.name in text and "4 clips" in text for text in report["limitations"])
    assert path.name in output.read_text()


def _check_contents(file: dict[str, Any], model: Path, clips: list[Path]) -> None:
    assert file["schema"] == "vidtag-calibration/1"
    assert file["model"]["sha256"] == hashlib.sha256((model / "bundle.json").read_bytes()).hexdigest()
    assert file["seed"] == 3
    by_name = {clip["name"]: clip for clip in file["clips"]}
    assert sorted(by_name) == [path.name for path in clips]
    for path in clips:
        assert by_name[path.name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        truth = path.with_suffix(".csv")
        assert by_name[path.name]["truth_sha256"] == hashlib.sha256(truth.read_bytes()).hexdigest()
        assert by_name[path.name]["frames"] == SECONDS
    parts = [clip["part"] for clip in file["clips"]]
    assert (parts.count("fit"), parts.count("measure")) == (CLIPS // 2, CLIPS // 2)
    assert {"located_share", "test_clips", "test_frames"} <= file["calibration"]["measured"].keys()


@pytest.mark.usefixtures("few_are_enough")
def test_the_file_of_another_model_is_refused(run: Run, models: dict[str, Path], clips: list[Path]) -> None:
    assert run("calibrate", models["vidtag"], *clips, "--out", "mine.json").code == 0
    for command in ("locate", "eval"):
        done = run(command, clips[0], "--model", models["geoclip"], "--calibration", "mine.json")
        assert done.code == 6
        assert "mine.json: made for the model tiny" in done.err
        assert "vidtag calibrate" in done.err
    text = Path("mine.json").read_text()
    for change, named in ((text.replace("/1", "/2", 1), "schema"), (text.replace('"seed"', '"sead"'), "seed")):
        Path("changed.json").write_text(change)
        done = run("locate", clips[0], "--model", models["vidtag"], "--calibration", "changed.json")
        assert done.code == 6
        assert named in done.err
    assert run("locate", clips[0], "--model", models["vidtag"], "--calibration", "none.json").code == 3


@pytest.mark.usefixtures("few_are_enough")
def test_the_same_clips_and_seed_give_the_same_calibration(
    run: Run, models: dict[str, Path], clips: list[Path]
) -> None:
    files = []
    for order, name in ((clips, "a.json"), (clips[::-1], "b.json")):
        assert run("calibrate", models["vidtag"], *order, "--out", name).code == 0
        files.append(json.loads(Path(name).read_text()) | {"created_utc": ""})
    assert files[0] == files[1]


@pytest.mark.usefixtures("few_are_enough")
def test_what_is_no_truth_or_counts_twice_is_refused(
    run: Run, models: dict[str, Path], clips: list[Path], tmp_path: Path
) -> None:
    twice = tmp_path / "twice.mp4"
    twice.write_bytes(clips[0].read_bytes())
    twice.with_suffix(".csv").write_bytes(clips[0].with_suffix(".csv").read_bytes())
    done = run("calibrate", models["vidtag"], *clips, twice, "--out", "x.json")
    assert (done.code, "are the same file" in done.err) == (3, True)
    track = tmp_path / "twice.csv"
    run("locate", clips[1], "--model", models["vidtag"], "--out", track, "--no-report", "--force")
    done = run("calibrate", models["vidtag"], twice, *clips[1:], "--out", "x.json")
    assert done.code == 3
    assert "written by vidtag itself" in done.err
    assert "1 left out" in done.err
    assert "1 are missing" in done.err
    assert not Path("x.json").exists()


def test_nothing_is_written_into_a_model(run: Run, models: dict[str, Path], clips: list[Path]) -> None:
    done = run("calibrate", models["vidtag"], *clips, "--out", models["vidtag"] / "calibration.json")
    assert done.code == 2
    assert "never changed" in done.err
