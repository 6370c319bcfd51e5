"""``vidtag eval`` on real videos with a tiny model: which truth was used, how it was aligned, what is said of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gopro_telemetry import gps5_payload, write_telemetry
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.__main__ import main
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.errors import VideoError
from vidtag_cli.pipeline import known_videos
from vidtag_cli.video.ffmpeg import find_ffmpeg

SECONDS = 5
START = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)
TRUTH = "time_s,lat,lon\n" + "".join(f"{second},1.{second},2\n" for second in range(SECONDS))


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def shy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds every frame too uncertain."""
    parameters = {
        "posterior_scale": 10.0, "place_radius_km": 100.0, "max_domain_distance": 5.0, "max_disagreement_km": 30000.0,
        "max_radius95_km": 50.0,
    }  # fmt: skip
    tables = {"posterior_radius_edges_km": [], "radius50_km": [10.0], "radius95_km": [100.0]}
    return write_tiny_bundle(
        tmp_path_factory.mktemp("shy"), "shy", calibration=Calibration(parameters, tables, "not calibrated", {})
    )


@pytest.fixture(scope="module")
def made_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", SECONDS, fps=2, size="32x32")


@pytest.fixture
def clip(made_clip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made_clip, tmp_path / "clip.mp4"))


@pytest.fixture
def vidtag(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VIDTAG_MODEL", str(model))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Done:
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return run


def saved(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def gpx(path: Path, first: datetime, seconds: int = SECONDS) -> Path:
    points = "".join(
        f'<trkpt lat="1.{second}" lon="2"><time>{(first + timedelta(seconds=second)).isoformat()}</time></trkpt>'
        for second in range(seconds)
    )
    return saved(path, f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>")


def remuxed(clip: Path, target: Path, *options: str, more: Path | None = None) -> Path:
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-i", f"file:{clip}"]
    command += [] if more is None else ["-i", f"file:{more}"]
    subprocess.run([*command, "-c", "copy", *options, f"file:{target}"], check=True)
    return target


def test_the_answer_names_file_hash_and_alignment_of_every_truth(vidtag: Run, clip: Path) -> None:
    path = saved(clip.with_suffix(".CSV"), TRUTH + "9,0,0\n")
    done = vidtag("eval", clip, "--json")
    (truth,) = done.answer["truths"]
    assert Path(truth["path"]) == path
    assert truth["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert truth["alignment"]["method"] == "media_time"
    assert truth["left_out"] == {"at 0, 0": 1}
    assert "left out of the truth: 1 at 0, 0 (line 7)" in done.err
    text = vidtag("eval", clip).out
    assert f"truth of clip.mp4: {path}, SHA-256 {truth['sha256']}" in text
    assert "the truth gives media times" in text


def test_an_estimate_beside_the_clip_is_not_its_truth(vidtag: Run, clip: Path) -> None:
    saved(clip.with_suffix(".csv"), TRUTH)
    assert vidtag("locate", clip, "-o", clip.with_suffix(".gpx"), "-o", "own.csv", "--no-report").code == 0
    done = vidtag("eval", clip, "--json")
    assert done.answer["truths"][0]["path"] == str(clip.with_suffix(".csv"))
    assert "clip.gpx (its creator is 'vidtag" in done.err
    for own in (clip.with_suffix(".gpx"), "own.csv"):
        done = vidtag("eval", clip, "--truth", own)
        assert done.code == 3
        assert "written by vidtag itself" in done.err
    clip.with_suffix(".csv").unlink()
    assert "no true track beside it" in vidtag("eval", clip).err


def test_several_tracks_beside_the_clip_are_an_error(vidtag: Run, clip: Path) -> None:
    saved(clip.with_suffix(".csv"), TRUTH)
    gpx(clip.with_suffix(".gpx"), START)
    done = vidtag("eval", clip)
    assert done.code == 3
    assert "clip.csv, clip.gpx" in done.err


def test_one_start_means_the_same_to_locate_and_eval(vidtag: Run, clip: Path) -> None:
    """A stream whose media time begins at 10 s, and a truth that begins with its first frame."""
    stream = remuxed(clip, clip.with_name("ten.ts"), "-muxdelay", "0", "-output_ts_offset", "10", "-f", "mpegts")
    start = START.isoformat()
    first = vidtag("locate", stream, "--json", "--start-time", start).answer["inputs"][0]["estimates"][0]
    assert first["media_time_s"] >= 10.0
    assert first["time_utc"] == "2024-05-17T09:30:00.000Z"
    path = gpx(clip.with_suffix(".gpx"), START)
    for option in ("--start-time", "--media-zero"):
        answer = vidtag("eval", stream, "--truth", path, option, start, "--json").answer
        assert answer["metrics"]["frames"]["without_truth"] == 0
        zero = datetime.fromisoformat(answer["truths"][0]["alignment"]["media_zero_utc"])
        assert (START - zero).total_seconds() == pytest.approx(first["media_time_s"])


def test_a_dated_start_is_used_and_a_guess_is_said(vidtag: Run, clip: Path) -> None:
    tags = ["-movflags", "use_metadata_tags", "-metadata", "com.apple.quicktime.creationdate=2024-05-17T09:30:00+0000"]
    dated = remuxed(clip, clip.with_name("dated.mov"), *tags)
    path = gpx(clip.with_suffix(".gpx"), START - timedelta(seconds=2), 2 * SECONDS)
    done = vidtag("eval", dated, "--truth", path, "--json")
    assert done.answer["truths"][0]["alignment"]["method"] == "apple_creationdate"
    assert "assumed" not in done.err
    done = vidtag("eval", clip, "--truth", path, "--json")
    assert done.answer["truths"][0]["alignment"]["method"] == "assumed"
    assert "clip.mp4: assumed: the truth has absolute times and the video has none" in done.err
    assert "assumed" in vidtag("eval", clip, "--truth", path).out
    assert vidtag("eval", clip, "--truth", path, "--first-fix-at-s", "0", "-q").err == ""


def test_all_truths_and_videos_are_looked_at_before_the_first_is_decoded(
    vidtag: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_time_for_that(*_: object, **__: object) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr("vidtag_cli.pipeline.session.open_session", no_time_for_that)
    good = saved(clip.with_suffix(".csv"), TRUTH)
    other = Path(shutil.copy(clip, clip.with_name("other.mp4")))
    broken = saved(clip.with_name("broken.mp4"), "no video")
    for second, truth, code in ((other, "none.csv", 3), (other, saved(clip.with_name("x.csv"), "a"), 3),
                                (broken, good, 4), (clip.with_name("no.mp4"), good, 3)):  # fmt: skip
        done = vidtag("eval", clip, second, "--truth", good, "--truth", truth)
        assert done.code == code, done.err


def test_the_gap_limit_is_named_and_can_be_set(vidtag: Run, clip: Path) -> None:
    path = saved(clip.with_suffix(".csv"), "time_s,lat,lon\n-6,1,2\n6,1,2\n")
    done = vidtag("eval", clip)
    assert done.code == 3
    assert "more than 10 s apart" in done.err
    assert "--max-gap-s" in done.err
    answer = vidtag("eval", clip, "--truth", path, "--max-gap-s", "12", "--json").answer
    assert answer["truths"][0]["max_gap_s"] == 12.0
    assert vidtag("eval", clip, "--max-gap-s", "0").code == 2
    saved(path, "time_s,lat,lon\n0,1,2\n3.5,1,2\n")
    done = vidtag("eval", clip, "--max-gap-s", "3", "--json")
    assert done.answer["truths"][0]["frames_in_gaps"] == 3
    done = vidtag("eval", clip, "--max-gap-s", "4", "--json")
    assert (done.answer["truths"][0]["frames_in_gaps"], done.err) == (0, "")
    saved(path, "time_s,lat,lon\n0,1,2\n4,1,2\n")
    done = vidtag("eval", clip, "--max-gap-s", "3", "--json")
    assert done.answer["truths"][0]["frames_in_gaps"] == 3
    assert "3 frames are not judged" in done.err


def test_frames_without_truth_are_said(vidtag: Run, clip: Path) -> None:
    saved(clip.with_suffix(".csv"), TRUTH[: TRUTH.index("3,")])
    assert "  without truth: 2 of 5 frames" in vidtag("eval", clip).out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_located_is_said_and_has_a_code_of_its_own(
    vidtag: Run, clip: Path, shy_model: Path, options: list[str]
) -> None:
    saved(clip.with_suffix(".csv"), TRUTH)
    done = vidtag("eval", clip, "--model", shy_model, *options)
    assert done.code == 8
    assert "no frame with a true position was located" in done.err
    if options:
        assert done.answer["metrics"]["frames"]["located"] == 0
    else:
        assert "no frame with a true position was located" in done.out
        assert " - " not in done.out
    assert vidtag("eval", clip, "--model", shy_model, "--exit-zero-on-abstain", *options).code == 0


def test_a_clip_is_scored_against_its_own_gps_when_told(vidtag: Run, clip: Path, tmp_path: Path) -> None:
    done = vidtag("eval", clip, "--truth", "embedded")
    assert (done.code, "no GoPro telemetry" in done.err) == (3, True)
    telemetry = write_telemetry(tmp_path / "gps.mov", [gps5_payload([(1.0, 2.0)])] * SECONDS)
    gopro = remuxed(clip, tmp_path / "gopro.mov", "-map", "0:v", "-map", "1:d", more=telemetry)
    assert "--truth embedded" in vidtag("eval", gopro).err
    answer = vidtag("eval", gopro, "--truth", "embedded", "--json").answer
    assert answer["truths"][0]["path"] == str(gopro)
    assert answer["truths"][0]["format"] == "gopro"
    assert answer["metrics"]["frames"]["without_truth"] == 0
    mkv = remuxed(clip, tmp_path / "clip.mkv")
    assert "reads the GPS of .mp4, .mov, .360" in vidtag("eval", mkv, "--truth", "embedded").err


def test_one_start_for_several_videos_is_wrong_usage(vidtag: Run, clip: Path) -> None:
    done = vidtag("eval", clip, clip, "--start-time", START.isoformat())
    assert (done.code, "2 videos" in done.err) == (2, True)
    path = saved(clip.with_suffix(".csv"), TRUTH)
    done = vidtag("eval", clip, "--truth", path, "--start-time", START.isoformat())
    assert (done.code, "given by media times" in done.err) == (2, True)


def test_a_clip_that_fails_while_it_is_decoded_costs_the_others_nothing(
    vidtag: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two good ones; alone it has the code of its error, as before."""
    truth = saved(clip.with_suffix(".csv"), TRUTH)
    broken, last = (Path(shutil.copy(clip, clip.with_name(name))) for name in ("broken.mp4", "last.mp4"))
    whole = known_videos.locate_unchanged

    def fails(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == broken:
            raise VideoError(f"{path}: the stream is damaged")
        return whole(path, *arguments, **options)

    monkeypatch.setattr(known_videos, "locate_unchanged", fails)
    truths = ["--truth", truth] * 3
    done = vidtag("eval", clip, broken, last, *truths)
    assert done.code == 9
    assert f"{broken}: not measured: " in done.err and "the stream is damaged" in done.err
    assert f"not measured, see the error: {broken}" in done.out
    assert "frames: 10, located 10" in done.out
    told = vidtag("eval", clip, broken, last, *truths, "--json")
    assert told.code == 9
    assert [video["path"] for video in told.answer["videos"]] == [str(clip), str(last)]
    assert len(told.answer["truths"]) == 2
    assert [(video["path"], video["exit_code"]) for video in told.answer["failed"]] == [(str(broken), 4)]
    assert vidtag("eval", broken, "--truth", truth).code == 4
    both = vidtag("eval", broken, broken, "--truth", truth, "--truth", truth)
    assert (both.code, both.out) == (9, "")
