"""What to write is refused before any work, or written as a whole."""

import errno
import hashlib
import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.errors import EvidenceError, OutputError, UsageError, VideoError
from vidtag_cli.files import hidden_file
from vidtag_cli.pipeline import output_files
from vidtag_cli.pipeline import run as run_module
from vidtag_cli.pipeline.batch import requests_for
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.output_journal import Journal, Placement
from vidtag_cli.pipeline.run import OutputRequest, check_request, run_input
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.video.ffmpeg import find_ffmpeg


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("force", [False, True])
def test_two_outputs_in_one_place_are_refused(folder, force):
    (folder / "sub").mkdir()
    again = folder / "sub" / ".." / "a.json"
    with pytest.raises(UsageError, match="two outputs in one place"):
        check_request(folder / "v.mp4", OutputRequest((folder / "a.json",), report=again, force=force))
    with pytest.raises(UsageError, match="two outputs in one place"):
        check_request(folder / "v.mp4", OutputRequest((folder / "a.json", again), force=force))


def test_two_names_of_one_file_are_refused(folder):
    (folder / "a.gpx").touch()
    (folder / "b.gpx").symlink_to("a.gpx")
    with pytest.raises(UsageError, match="two outputs in one place"):
        check_request(folder / "v.mp4", OutputRequest((folder / "a.gpx", folder / "b.gpx"), force=True))


def test_options_of_a_format_that_is_not_written_are_refused(folder):
    gpx = OutputRequest((folder / "a.gpx",))
    for request in (replace(gpx, geojson_shape="line"), replace(gpx, csv_abstained=True)):
        with pytest.raises(UsageError, match="leave the option out"):
            check_request(folder / "v.mp4", request)
    with pytest.raises(UsageError, match="csv-abstained"):
        requests_for([folder / "v.mp4"], [], folder, "gpx,kml", None, True, False, "point", csv_abstained=True)


def test_the_record_does_not_go_to_standard_output(folder):
    with pytest.raises(UsageError, match="--report -"):
        check_request(folder / "v.mp4", OutputRequest((folder / "a.gpx",), report=Path("-")))


def test_what_a_killed_run_left_by_half_is_settled_before_the_names_are_asked_for(folder, caplog):
    """Its tracks are under the names of this run, which has no --force."""
    track = Placement(folder, "a.gpx", hashlib.sha256(b"half").hexdigest(), 4, False)
    record = Placement(folder, "a.report.json", "0" * 64, 9, False)
    journal = Journal((track, record))
    journal.path_in(folder).write_bytes(journal.text(folder))
    (folder / "a.gpx").write_bytes(b"half")
    (folder / ".vidtag-0123456789abcdef.part").touch()
    check_request(folder / "v.mp4", OutputRequest((folder / "a.gpx",), report=folder / "a.report.json"))
    assert list(folder.iterdir()) == []
    assert "undone" in caplog.text


def test_a_device_takes_more_than_one_output(folder):
    null = type(folder)("/dev/null")
    check_request(folder / "v.mp4", OutputRequest((null, null), "gpx", report=null))


def test_a_disk_that_fills_up_leaves_no_half_set_of_outputs(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    session = open_session(str(write_tiny_bundle(tmp_path / "model")))
    clip = write_video(tmp_path / "clip.mp4")
    request = OutputRequest((folder / "a.gpx", folder / "a.csv"), report=folder / "a.report.json")
    written = []

    @contextmanager
    def fill_up(where, content, mode=None):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with hidden_file(where, content, mode) as temporary:
            written.append(temporary)
            yield temporary

    with monkeypatch.context() as patched:
        patched.setattr(output_files, "hidden_file", fill_up)
        with pytest.raises(OutputError, match="full"):
            run_input(clip, session, LocateOptions(), request)
    assert len(written) == 1
    assert list(folder.iterdir()) == []

    def no_record(**kwargs):
        raise OutputError("no record")

    monkeypatch.setattr(run_module, "build_report", no_record)
    with pytest.raises(OutputError, match="no record"):
        run_input(clip, session, LocateOptions(), request)
    assert list(folder.iterdir()) == []


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_session(str(write_tiny_bundle(tmp_path / "model")))


def during_decoding(monkeypatch, before=lambda: None, after=lambda: None):
    """Do something to the input between hashing and decoding, and something else when it is decoded."""
    locate = run_module.locate_video

    def meddle(*args, **kwargs):
        before()
        try:
            return locate(*args, **kwargs)
        finally:
            after()

    monkeypatch.setattr(run_module, "locate_video", meddle)


def test_what_is_hashed_is_what_is_decoded(session, tmp_path, monkeypatch):
    """The name leads to another video while the first is decoded, and back again."""
    one, other, name = (
        write_video(tmp_path / "a.mp4", seconds=3),
        write_video(tmp_path / "b.mp4"),
        tmp_path / "clip.mp4",
    )
    name.symlink_to(one)
    alone = run_input(name, session, LocateOptions(), OutputRequest()).located.track

    def lead_to(target):
        (tmp_path / "new").symlink_to(target)
        os.replace(tmp_path / "new", name)

    during_decoding(monkeypatch, lambda: lead_to(other), lambda: lead_to(one))
    assert run_input(name, session, LocateOptions(), OutputRequest()).located.track == alone
    assert len(alone.points) == 3


@pytest.mark.parametrize("decode_mode", ["exact", "keyframes"])
def test_a_name_that_becomes_a_pipe_is_not_waited_for(session, tmp_path, folder, monkeypatch, decode_mode):
    clip = write_video(tmp_path / "clip.mp4")

    def become_a_pipe():
        clip.unlink()
        os.mkfifo(clip)

    during_decoding(monkeypatch, become_a_pipe)
    options = LocateOptions(decode_mode=decode_mode, shots="whole")
    with pytest.raises(EvidenceError):
        run_input(clip, session, options, OutputRequest((folder / "a.gpx",)))
    assert list(folder.iterdir()) == []


def test_bytes_that_were_others_while_they_were_decoded_and_are_put_back_are_an_error(
    session, tmp_path, folder, monkeypatch
):
    clip, other = write_video(tmp_path / "clip.mp4"), write_video(tmp_path / "b.mp4", seconds=3)
    content, status = clip.read_bytes(), clip.stat()

    def put_back():
        clip.write_bytes(content)
        os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns))

    during_decoding(monkeypatch, lambda: clip.write_bytes(other.read_bytes()), put_back)
    with pytest.raises(EvidenceError, match="ctime_ns"):
        run_input(clip, session, LocateOptions(), OutputRequest((folder / "a.gpx",), report=folder / "a.report.json"))
    assert list(folder.iterdir()) == []


def test_outputs_named_after_other_bytes_are_not_written(session, tmp_path, folder):
    clip = write_video(tmp_path / "clip.mp4")
    ((_, request),) = requests_for([clip], [], folder, "gpx", None, True, False, "point")
    write_video(clip, seconds=3)
    with pytest.raises(EvidenceError, match="named after"):
        run_input(clip, session, LocateOptions(), request)


def test_an_input_without_names_for_its_outputs_is_not_located_for_nothing(session, tmp_path, folder):
    late = tmp_path / "late.mp4"
    ((_, request),) = requests_for([late], [], folder, "gpx", None, True, False, "point")
    write_video(late)
    with pytest.raises(EvidenceError, match="named after"):
        run_input(late, session, LocateOptions(), request)


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory):
    """A video of which a third is missing at the end, though its index promises all of it."""
    folder = tmp_path_factory.mktemp("cut")
    whole = write_video(folder / "whole.mp4", seconds=12.0, fps=8)
    fast = folder / "cut.mp4"
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-i", f"file:{whole}"]
    subprocess.run([*command, "-c", "copy", "-movflags", "+faststart", f"file:{fast}"], check=True)
    os.truncate(fast, fast.stat().st_size * 2 // 3)
    return fast


def test_every_output_says_that_the_input_was_cut_short(session, cut_short, folder):
    tracks = tuple(folder / f"a.{suffix}" for suffix in ("gpx", "kml", "geojson"))
    result = run_input(cut_short, session, LocateOptions(), OutputRequest(tracks, report=folder / "a.report.json"))
    record = json.loads((folder / "a.report.json").read_text())
    decode, (statement,) = record["input"]["decode"], (text for text in record["limitations"] if "incomplete" in text)
    assert decode["complete"] is False
    assert decode["missing"] and all(words in statement for words in decode["missing"])
    assert decode["media_end_s"] < 9.0 < 12.0 == pytest.approx(decode["promised_end_s"], abs=0.1)
    completeness = result.summary()["completeness"]
    assert {"complete", "missing", "media_end_s", "promised_end_s", "notes"} <= completeness.keys()
    assert {key: decode[key] for key in completeness} == completeness
    for track in tracks:
        assert "incomplete or damaged" in track.read_text(), track.suffix


def test_strict_makes_it_an_error_and_writes_nothing(session, cut_short, folder):
    request = OutputRequest((folder / "a.gpx",), report=folder / "a.report.json")
    with pytest.raises(VideoError, match="incomplete or damaged .*--strict"):
        run_input(cut_short, session, LocateOptions(strict=True), request)
    assert list(folder.iterdir()) == []


def test_a_whole_input_says_nothing_of_the_kind_and_strict_takes_it(session, tmp_path):
    result = run_input(write_video(tmp_path / "clip.mp4"), session, LocateOptions(strict=True), OutputRequest())
    assert result.summary()["completeness"]["complete"] is True
    assert result.summary()["completeness"]["missing"] == []
    assert not any("incomplete" in text for text in result.located.track.limitations)
