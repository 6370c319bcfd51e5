"""What to write is refused before any work, or written as a whole."""

import errno
import os
from contextlib import contextmanager

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.errors import OutputError, UsageError
from vidtag_cli.files import hidden_file
from vidtag_cli.pipeline import output_files
from vidtag_cli.pipeline import run as run_module
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.run import OutputRequest, check_request, run_input
from vidtag_cli.pipeline.session import open_session


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
