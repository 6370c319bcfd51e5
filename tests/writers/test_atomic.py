from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vidtag_cli import files
from vidtag_cli.errors import OutputError
from vidtag_cli.writers import atomic
from vidtag_cli.writers.atomic import atomic_write, check_output_free


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_bytes_and_the_usual_permissions(tmp_path):
    atomic_write(tmp_path / "new", b"abc")
    (tmp_path / "usual").touch()
    assert (tmp_path / "new").read_bytes() == b"abc"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert names(tmp_path) == ["new", "usual"]


def test_a_function_may_write_in_pieces(tmp_path):
    def write(stream):
        stream.write(b"one ")
        stream.write(b"two")

    atomic_write(tmp_path / "new", write)
    assert (tmp_path / "new").read_bytes() == b"one two"


def test_an_existing_file_stays_without_force(tmp_path):
    (tmp_path / "kept").write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already.*--force") as caught:
        atomic_write(tmp_path / "kept", b"new")
    assert caught.value.exit_code == 5
    assert (tmp_path / "kept").read_bytes() == b"old"
    assert names(tmp_path) == ["kept"]


def test_a_file_that_appears_meanwhile_stays(tmp_path):
    target = tmp_path / "raced"

    def write(stream):
        stream.write(b"mine")
        target.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="exists already"):
        atomic_write(target, write)
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["raced"]


def test_force_replaces_and_keeps_permissions(tmp_path):
    target = tmp_path / "private"
    target.write_bytes(b"old")
    target.chmod(0o600)
    atomic_write(target, b"new", force=True)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names(tmp_path) == ["private"]


def test_force_also_writes_a_new_file(tmp_path):
    atomic_write(tmp_path / "new", b"abc", force=True)
    assert (tmp_path / "new").read_bytes() == b"abc"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("force", [False, True])
def test_an_interrupted_write_leaves_nothing(tmp_path, stop, force):
    def write(stream):
        stream.write(b"half")
        raise stop

    with pytest.raises(stop):
        atomic_write(tmp_path / "new", write, force=force)
    assert names(tmp_path) == []


def test_an_interrupted_replacement_leaves_the_old_file(tmp_path):
    (tmp_path / "kept").write_bytes(b"old")

    def write(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "kept", write, force=True)
    assert (tmp_path / "kept").read_bytes() == b"old"
    assert names(tmp_path) == ["kept"]


@pytest.mark.parametrize("number", sorted(atomic.DISK_FULL))
def test_a_full_disk_is_named(tmp_path, number):
    def write(stream):
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match="is full"):
        atomic_write(tmp_path / "new", write)
    assert names(tmp_path) == []


def test_the_full_device_is_an_error():
    with pytest.raises(OutputError, match="/dev/full.* is full"):
        atomic_write("/dev/full", b"x" * 100_000)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match="the folder .*/none does not exist"):
        atomic_write(tmp_path / "none" / "new", b"")


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="does not exist"):
        atomic_write(tmp_path / "file" / "new", b"")


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_no_output(tmp_path, force):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        atomic_write(tmp_path / "folder", b"", force=force)
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission"):
        atomic_write(tmp_path / "new", b"")


@pytest.mark.parametrize("number", sorted(atomic.NOT_PERMITTED))
def test_a_refusal_of_the_system_is_named(tmp_path, monkeypatch, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "open", refuse)
    with pytest.raises(OutputError, match="no permission"):
        atomic_write(tmp_path / "new", b"")


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    atomic_write(tmp_path / ("n" * 255), b"abc")
    with pytest.raises(OutputError, match="too long"):
        atomic_write(tmp_path / ("n" * 256), b"abc")
    assert names(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("number", sorted(files.NO_HARD_LINKS))
def test_a_disk_without_hard_links(tmp_path, monkeypatch, number):
    def refuse(answer):
        def raising(*args):
            raise OSError(answer, os.strerror(answer))

        return raising

    monkeypatch.setattr(files, "rename_with_flag", refuse(errno.EINVAL))
    monkeypatch.setattr(files.os, "link", refuse(number))
    atomic_write(tmp_path / "new", b"abc")
    assert (tmp_path / "new").read_bytes() == b"abc"
    with pytest.raises(OutputError, match="exists already"):
        atomic_write(tmp_path / "new", b"other")
    assert (tmp_path / "new").read_bytes() == b"abc"
    assert names(tmp_path) == ["new"]


def test_a_pipe_is_written_directly(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    atomic_write(tmp_path / "pipe", b"through")
    reader.join()
    assert received == [b"through"]
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_that_is_a_file_is_continued(tmp_path, name):
    code = f"print('first')\nfrom vidtag_cli.writers.atomic import atomic_write\natomic_write('{name}', b'second')\n"
    with (tmp_path / "log").open("ab") as log:
        log.write(b"zeroth\n")
        log.flush()
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "log").read_bytes() == b"zeroth\nfirst\nsecond"


class TestCheckOutputFree:
    def test_a_free_name_in_a_folder(self, tmp_path):
        check_output_free(tmp_path / "new", [tmp_path / "input"])

    def test_an_existing_file(self, tmp_path):
        (tmp_path / "old").touch()
        with pytest.raises(OutputError, match="--force"):
            check_output_free(tmp_path / "old")
        check_output_free(tmp_path / "old", force=True)

    @pytest.mark.parametrize("how", ["same", "dots", "symbolic", "hard"])
    @pytest.mark.parametrize("force", [False, True])
    def test_the_input_itself_by_any_name(self, tmp_path, how, force):
        evidence = tmp_path / "clip.mp4"
        evidence.write_bytes(b"evidence")
        output = {"same": evidence, "dots": tmp_path / ".." / tmp_path.name / "clip.mp4"}.get(how, tmp_path / "out.gpx")
        if how == "symbolic":
            output.symlink_to(evidence)
        if how == "hard":
            output.hardlink_to(evidence)
        with pytest.raises(OutputError, match="the input .* itself"):
            check_output_free(output, [tmp_path / "other", evidence], force=force)

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(OutputError, match="does not exist"):
            check_output_free(tmp_path / "none" / "new")

    def test_a_folder(self, tmp_path):
        with pytest.raises(OutputError, match="is a folder"):
            check_output_free(tmp_path, force=True)

    def test_a_folder_without_permission(self, tmp_path, monkeypatch):
        monkeypatch.setattr(atomic.os, "access", lambda *args: False)
        with pytest.raises(OutputError, match="no permission"):
            check_output_free(tmp_path / "new")

    @pytest.mark.parametrize("force", [False, True])
    def test_a_name_that_is_too_long(self, tmp_path, force):
        with pytest.raises(OutputError, match="too long"):
            check_output_free(tmp_path / ("n" * 256), [tmp_path / "input"], force)
        with pytest.raises(OutputError, match="too long"):
            check_output_free(tmp_path / ("n" * 256) / "new", [tmp_path / "input"], force)

    @pytest.mark.parametrize("force", [False, True])
    def test_links_in_a_circle(self, tmp_path, force):
        (tmp_path / "loop").symlink_to("loop")
        for path in (tmp_path / "loop", tmp_path / "loop" / "new"):
            with pytest.raises(OutputError, match="circle"):
                check_output_free(path, [tmp_path / "input"], force)

    def test_an_input_whose_links_go_in_a_circle_is_not_the_outputs_fault(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        check_output_free(tmp_path / "new", [tmp_path / "loop", tmp_path / ("n" * 256)])

    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_that_cannot_be_searched(self, tmp_path, monkeypatch, force):
        """Root may search every folder, so the system's refusal is played."""
        real = os.stat

        def refuse(path, **kwargs):
            if str(path).endswith("new"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return real(path, **kwargs)

        monkeypatch.setattr(atomic.os, "stat", refuse)
        with pytest.raises(OutputError, match="no permission"):
            check_output_free(tmp_path / "new", [tmp_path], force)

    @pytest.mark.parametrize("name", ["/dev/stdout", "/dev/null", "/dev/fd/2"])
    def test_streams_are_always_free(self, name):
        check_output_free(name)
