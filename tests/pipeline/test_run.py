"""What to write is refused before any work, or written as a whole."""

import errno
import os

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.errors import EvidenceError, OutputError, UsageError
from vidtag_cli.pipeline import run as run_module
from vidtag_cli.pipeline.batch import requests_for
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.run import OutputRequest, check_request, run_input
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.writers import formats


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


def test_a_device_takes_more_than_one_output(folder):
    null = type(folder)("/dev/null")
    check_request(folder / "v.mp4", OutputRequest((null, null), "gpx", report=null))


def test_a_disk_that_fills_up_leaves_no_half_set_of_outputs(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    session = open_session(str(write_tiny_bundle(tmp_path / "model")))
    clip = write_video(tmp_path / "clip.mp4")
    writing, written = formats.atomic_write, []

    def fill_up(path, content, *, force=False):
        if len(written) == 1:
            raise OutputError(f"{path}: {os.strerror(errno.ENOSPC)}")
        writing(path, content, force=force)
        written.append(path)

    monkeypatch.setattr(formats, "atomic_write", fill_up)
    request = OutputRequest((folder / "a.gpx", folder / "a.csv"), report=folder / "a.report.json")
    with pytest.raises(OutputError, match="No space"):
        run_input(clip, session, LocateOptions(), request)
    assert written == [folder / "a.gpx"]
    assert list(folder.iterdir()) == []

    def no_record(**kwargs):
        raise OutputError("no record")

    monkeypatch.setattr(formats, "atomic_write", writing)
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
