"""The model that ships: whole, small enough, right on its own clip, silent on everything else."""

import json
import subprocess
from pathlib import Path

import pytest
from command_line import CommandLine

from vidtag_cli.bundle.installed_models import find_model
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.video.ffmpeg import find_ffmpeg

ROOT = Path(__file__).parents[1]
BUNDLE_LIMIT_BYTES, CLIP_LIMIT_BYTES = 25_000_000, 1_000_000
DEMO_MEDIAN_ERROR_KM = 24.0  # what the demo prints; another processor may round to the next place of the gallery
GALLERY_STEP_KM = 25.0
STREET_AND_PHONE = [
    "street/lund_walk_29f_1fps.mp4", "street/london_euston_hevc_vfr.mp4", "street/california_freeway_dashcam.mp4",
    "phone/rotated90_hunan_location.mp4", "phone/rotated90_israel_iso6709.mov", "phone/null_island.mp4",
    "phone/thermal gaps 2s.mp4", "gps/gopro_max_carlsbad.mp4", "gps/gopro_hero5_carlsbad.mp4",
    "gps/gopro_hero8_no_lock.mp4",
]  # fmt: skip


@pytest.fixture
def vidtag(tmp_path, flyover_cache, monkeypatch, capfd):
    """Run the program in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(flyover_cache))
    return CommandLine(tmp_path, monkeypatch, capfd)


def test_the_bundle_is_whole_and_small():
    path = find_model("flyover")
    assert load_bundle(path, verify=True).name == "flyover"  # the name in every output and record
    assert sum(file.stat().st_size for file in path.iterdir()) <= BUNDLE_LIMIT_BYTES
    clip = ROOT / "vidtag_cli" / "data" / "demo" / "flyover_demo.mp4"
    assert clip.stat().st_size <= CLIP_LIMIT_BYTES


def test_the_demo_locates_its_clip(tmp_path, vidtag):
    done = vidtag("demo", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["median_error_km"] == pytest.approx(DEMO_MEDIAN_ERROR_KM, abs=GALLERY_STEP_KM)
    written = {path.name for path in (tmp_path / "vidtag-demo").iterdir()}
    suffixes = ("gpx", "kml", "geojson", "csv", "report.json")
    assert written == {f"flyover_demo.{suffix}" for suffix in suffixes}


def test_both_shots_of_an_edited_flight_are_located(tmp_path, vidtag):
    """The first 9 s of the demo's flight and, after a cut, what follows 7 s later: two tracks near the true one."""
    demo = ROOT / "vidtag_cli" / "data" / "demo"
    scenes = "[0:v]split[a][b];[a]trim=0:9[c];[b]trim=16:24,setpts=PTS-STARTPTS[d];[c][d]concat=n=2"
    source = ["-i", f"file:{demo / 'flyover_demo.mp4'}", "-filter_complex", scenes]
    ffmpeg = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error"]
    subprocess.run([*ffmpeg, *source, "-c:v", "libx264", "-crf", "20", str(tmp_path / "edited.mp4")], check=True)
    lines = [line.split(",") for line in (demo / "flyover_demo.truth.csv").read_text("ascii").splitlines()]
    before = [line for line in lines[1:] if float(line[0]) < 9.0]
    after = [[f"{float(line[0]) - 7.0:.6f}", *line[1:]] for line in lines[1:] if float(line[0]) >= 16.0]
    rows = [lines[0], *before, *after]
    (tmp_path / "edited.csv").write_text("\n".join(",".join(row) for row in rows) + "\n", "ascii")
    done = vidtag("eval", "edited.mp4", "--model", "flyover", "--smooth", "viterbi", "--json")
    assert done.returncode == 0, done.stderr
    frames = json.loads(done.stdout)["metrics"]["frames"]
    assert frames["count"] == 17
    assert frames["located"] >= 14
    assert frames["median_km"] == pytest.approx(DEMO_MEDIAN_ERROR_KM, abs=GALLERY_STEP_KM)
    table = vidtag("locate", "edited.mp4", "--model", "flyover", "--smooth", "viterbi", "--json")
    shots = json.loads(table.stdout)["inputs"][0]["summary"]["shots"]
    assert [shot["frames"] for shot in shots] == [9, 8]


def test_the_demo_prints_the_honest_sentence(vidtag):
    done = vidtag("demo")
    assert "knows the globe from above and nothing else" in done.stdout
    assert vidtag("demo").returncode == 5  # its outputs exist now


@pytest.mark.parametrize("smooth", ["none", "viterbi"])
def test_a_black_video_is_abstained_on(smooth, tmp_path, vidtag):
    """The sea at night is black, too; once the model found it near Puerto Rico."""
    source = ["-f", "lavfi", "-i", "color=black:size=320x180:rate=5:duration=9"]
    ffmpeg = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error"]
    subprocess.run(
        [*ffmpeg, *source, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(tmp_path / "black.mp4")], check=True
    )
    done = vidtag("locate", "black.mp4", "--model", "flyover", "--smooth", smooth)
    assert done.returncode == 8, done.stderr
    assert "blank picture (9)" in done.stderr


def test_another_gallery_takes_the_measured_circles_away(tmp_path, vidtag):
    """The flight is not over Iceland: who searches there alone gets no place and is told why."""
    where = ("--country", "Iceland", "--spacing-km", "50")
    built = vidtag("gallery", "build", "iceland", "--model", "flyover", *where)
    assert built.returncode == 0, built.stderr
    clip = ROOT / "vidtag_cli" / "data" / "demo" / "flyover_demo.mp4"
    options = ("--gallery", "iceland", "--smooth", "viterbi", "--out", "t.csv")
    done = vidtag("locate", clip, "--model", "flyover", *options)
    assert done.returncode == 8, done.stderr
    assert "the model's best place lies outside the places searched (24)" in done.stderr
    report = json.loads((tmp_path / "t.report.json").read_text())
    assert report["uncertainty_statement"]["coverage_measured"] == {}
    assert "Not measured with these places" in report["uncertainty_statement"]["radius_meaning"]
    said = " ".join(report["limitations"])
    assert "places were searched (Iceland, every 50 km): a frame abstains where most of the model's belief lies" in said
    rule = report["method"]["parameters"]["rule"]
    assert (rule["radii"], rule["path"]["radii"]) == (None, None)


@pytest.mark.parametrize(
    "sampling", [(), ("--smooth", "viterbi"), ("--fps", "5"), ("--fps", "5", "--smooth", "viterbi")]
)
@pytest.mark.parametrize("name", STREET_AND_PHONE)
def test_street_and_phone_video_is_abstained_on(media, name, sampling, tmp_path, vidtag):
    """Five frames a second look alike: they must not vouch for each other more than one does."""
    outputs = ("--out", "t.geojson", "--out", "t.gpx")
    done = vidtag("locate", media / name, "--model", "flyover", *sampling, *outputs)
    assert done.returncode == 8, done.stderr
    features = json.loads((tmp_path / "t.geojson").read_text())["features"]
    assert features
    assert all(feature["geometry"] is None for feature in features)
    assert (tmp_path / "t.report.json").is_file()
