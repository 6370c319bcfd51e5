"""Files and folders appear whole or not at all; what killed processes leave is settled, what living ones hold stays."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vidtag_cli import files
from vidtag_cli.files import (
    create_file,
    exclusive_lock,
    find_leftovers,
    hidden_file,
    remove_leftovers,
    replace_file,
    replace_folder,
    sync_folder,
    work_folder,
)

ROOT = Path(__file__).parents[1]
HIDDEN = ".vidtag-0123456789abcdef"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refuse(number: int):
    def raising(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return raising


@pytest.fixture(params=["renameat2", "hard links", "neither"])
def file_system(request, monkeypatch):
    """What the file system can do: rename with flags, link, or only rename."""
    if request.param != "renameat2":
        monkeypatch.setattr(files, "rename_with_flag", refuse(errno.EINVAL))
    if request.param == "neither":
        monkeypatch.setattr(files.os, "link", refuse(errno.EPERM))
    return request.param


def kill_in(code: str, *arguments: object) -> None:
    """Run Python that kills itself with SIGKILL."""
    prelude = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom vidtag_cli import files\n"
        "def die(*args, **kwargs):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder = Path(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", prelude + code, *map(str, arguments)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


class TestReplaceFile:
    def test_it_writes_a_new_file_with_the_usual_permissions(self, tmp_path):
        replace_file(tmp_path / "new", b"abc")
        (tmp_path / "usual").touch()
        assert (tmp_path / "new").read_bytes() == b"abc"
        assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
        assert names(tmp_path) == ["new", "usual"]

    def test_it_keeps_the_permissions_of_the_earlier_file_unless_told(self, tmp_path):
        (tmp_path / "kept").touch(0o600)
        replace_file(tmp_path / "kept", memoryview(b"new"))
        assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600
        replace_file(tmp_path / "kept", lambda stream: stream.write(b"newer"), mode=0o640)
        assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o640
        assert (tmp_path / "kept").read_bytes() == b"newer"

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, OSError])
    def test_an_interrupted_write_leaves_the_earlier_file(self, tmp_path, stop):
        (tmp_path / "kept").write_bytes(b"old")

        def write(stream):
            stream.write(b"half")
            raise stop

        with pytest.raises(stop):
            replace_file(tmp_path / "kept", write)
        assert (tmp_path / "kept").read_bytes() == b"old"
        assert names(tmp_path) == ["kept"]

    def test_a_name_as_long_as_the_file_system_allows(self, tmp_path):
        replace_file(tmp_path / ("n" * 255), b"abc")
        assert names(tmp_path) == ["n" * 255]

    def test_a_symbolic_link_is_replaced_and_its_target_stays(self, tmp_path):
        (tmp_path / "elsewhere").write_bytes(b"theirs")
        (tmp_path / "link").symlink_to("elsewhere")
        replace_file(tmp_path / "link", b"ours")
        assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
        assert (tmp_path / "link").read_bytes() == b"ours"

    def test_a_killed_writer_leaves_the_earlier_file_and_a_leftover(self, tmp_path):
        (tmp_path / "kept").write_bytes(b"old")
        kill_in("files.replace_file(folder / 'kept', lambda stream: stream.write(b'half') and die())", tmp_path)
        assert (tmp_path / "kept").read_bytes() == b"old"
        assert len(remove_leftovers(tmp_path)) == 1
        assert names(tmp_path) == ["kept"]


class TestCreateFile:
    def test_it_writes_a_new_file_and_never_over_another(self, tmp_path, file_system):
        create_file(tmp_path / "new", b"abc")
        with pytest.raises(FileExistsError):
            create_file(tmp_path / "new", b"other")
        assert (tmp_path / "new").read_bytes() == b"abc"
        assert names(tmp_path) == ["new"]

    def test_a_name_taken_meanwhile_stays_the_others(self, tmp_path, file_system):
        def write(stream):
            (tmp_path / "raced").write_bytes(b"theirs")

        with pytest.raises(FileExistsError):
            create_file(tmp_path / "raced", write)
        assert (tmp_path / "raced").read_bytes() == b"theirs"
        assert names(tmp_path) == ["raced"]

    def test_a_failing_move_leaves_nothing(self, tmp_path, file_system, monkeypatch):
        monkeypatch.setattr(files.os, "replace", refuse(errno.EIO))
        monkeypatch.setattr(files.os, "link", refuse(errno.EPERM if file_system == "neither" else errno.EIO))
        if file_system == "renameat2":
            monkeypatch.setattr(files, "rename_with_flag", refuse(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            create_file(tmp_path / "new", b"abc")
        assert names(tmp_path) == []


class TestReplaceFolder:
    def make(self, folder: Path, text: str) -> None:
        with replace_folder(folder / "store") as fresh:
            (fresh / "deep").mkdir()
            (fresh / "deep" / "file").write_text(text)

    def text(self, folder: Path) -> str:
        return (folder / "store" / "deep" / "file").read_text()

    def test_a_folder_appears_and_is_replaced(self, tmp_path, file_system):
        self.make(tmp_path, "first")
        (tmp_path / "store").chmod(0o700)
        self.make(tmp_path, "second")
        assert self.text(tmp_path) == "second"
        assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
        assert names(tmp_path) == ["store"]

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, OSError])
    def test_a_block_that_fails_leaves_the_earlier_folder(self, tmp_path, stop):
        self.make(tmp_path, "first")
        with pytest.raises(stop), replace_folder(tmp_path / "store") as fresh:
            (fresh / "half").touch()
            raise stop
        assert self.text(tmp_path) == "first"
        assert names(tmp_path) == ["store"]

    @pytest.mark.parametrize("at", [1, 2])
    @pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.EIO, "no")], ids=["signal", "error"])
    def test_a_change_of_places_that_fails_puts_the_earlier_folder_back(self, tmp_path, monkeypatch, stop, at):
        self.make(tmp_path, "first")
        monkeypatch.setattr(files, "rename_with_flag", refuse(errno.EINVAL))
        rename, calls = os.rename, []

        def fail_once(*args):
            calls.append(args)
            if len(calls) == at:
                raise stop
            rename(*args)

        monkeypatch.setattr(files.os, "rename", fail_once)
        with pytest.raises(type(stop)):
            self.make(tmp_path, "second")
        assert self.text(tmp_path) == "first"
        assert names(tmp_path) == ["store"]

    @pytest.mark.parametrize("next_step", ["remove_leftovers", "replace_folder"])
    def test_killed_between_two_renames_the_earlier_folder_is_put_back(self, tmp_path, next_step):
        self.make(tmp_path, "first")
        kill_in(
            "def refuse(*args):\n    raise OSError(22, 'no flags')\n"
            "files.rename_with_flag = refuse\n"
            "rename = os.rename\n"
            "os.rename = lambda *args: die() if args[1] == folder / 'store' else rename(*args)\n"
            "with files.replace_folder(folder / 'store') as fresh:\n    (fresh / 'new').touch()\n",
            tmp_path,
        )
        assert "store" not in names(tmp_path)
        if next_step == "remove_leftovers":
            assert len(remove_leftovers(tmp_path)) == 2
        else:
            with pytest.raises(KeyboardInterrupt), replace_folder(tmp_path / "store"):
                raise KeyboardInterrupt
        assert self.text(tmp_path) == "first"
        assert names(tmp_path) == ["store"]

    def test_killed_after_the_exchange_the_new_folder_stays(self, tmp_path):
        self.make(tmp_path, "first")
        kill_in(
            "files._remove = die\n"
            "with files.replace_folder(folder / 'store') as fresh:\n"
            "    (fresh / 'deep').mkdir()\n    (fresh / 'deep' / 'file').write_text('second')\n",
            tmp_path,
        )
        assert len(remove_leftovers(tmp_path)) == 1
        assert self.text(tmp_path) == "second"
        assert names(tmp_path) == ["store"]

    def test_an_earlier_folder_is_not_put_over_a_later_one(self, tmp_path):
        self.make(tmp_path, "second")
        (tmp_path / f"{HIDDEN}.old" / "store").mkdir(parents=True)
        remove_leftovers(tmp_path)
        assert self.text(tmp_path) == "second"
        assert names(tmp_path) == ["store"]

    def test_a_file_is_not_replaced_by_a_folder(self, tmp_path):
        (tmp_path / "file").write_bytes(b"theirs")
        with pytest.raises(NotADirectoryError), replace_folder(tmp_path / "file"):
            raise AssertionError("the block is not reached")
        assert (tmp_path / "file").read_bytes() == b"theirs"

    def test_what_was_written_is_on_the_disk_before_the_places_change(self, tmp_path, monkeypatch):
        synced, real = [], os.fsync

        def note(descriptor):
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            real(descriptor)

        monkeypatch.setattr(files.os, "fsync", note)
        self.make(tmp_path, "first")
        ends = [path.rsplit("/", 1)[1] for path in synced]
        assert ends.index("file") < ends.index(tmp_path.name)
        assert "deep" in ends


class TestExclusiveLock:
    def test_one_at_a_time(self, tmp_path):
        lock = tmp_path / "lock"
        with exclusive_lock(lock), pytest.raises(BlockingIOError), exclusive_lock(lock):
            raise AssertionError("two are in")
        with exclusive_lock(tmp_path / "lock"):
            pass

    def test_who_waits_says_so_once_and_gets_in(self, tmp_path):
        said, order = [], []

        def wait_for_it():
            with exclusive_lock(tmp_path / "lock", on_wait=lambda: said.append("waiting")):
                order.append("second")

        with exclusive_lock(tmp_path / "lock"):
            other = threading.Thread(target=wait_for_it)
            other.start()
            while not said:
                pass
            order.append("first")
        other.join()
        assert (said, order) == (["waiting"], ["first", "second"])

    def test_it_ends_with_its_process(self, tmp_path):
        kill_in("with files.exclusive_lock(folder / 'lock'):\n    die()\n", tmp_path)
        with exclusive_lock(tmp_path / "lock"):
            pass

    def test_a_link_in_its_place_is_not_followed(self, tmp_path):
        (tmp_path / "lock").symlink_to("elsewhere")
        with pytest.raises(OSError), exclusive_lock(tmp_path / "lock"):
            raise AssertionError("the link was followed")
        assert not (tmp_path / "elsewhere").exists()


class TestLeftovers:
    def test_only_what_bears_such_a_name_is_removed(self, tmp_path):
        (tmp_path / f"{HIDDEN}.part").mkdir()
        (tmp_path / f"{HIDDEN}.part" / "big").write_bytes(b"x")
        (tmp_path / ".vidtag-fedcba9876543210.part").touch()
        others = sorted(["clip.part", ".vidtag-xyz.part", f"{HIDDEN}.gpx", f"a{HIDDEN}.part"])
        for name in others:
            (tmp_path / name).touch()
        assert len(find_leftovers(tmp_path)) == 2
        assert remove_leftovers(tmp_path) == sorted(
            [tmp_path / f"{HIDDEN}.part", tmp_path / ".vidtag-fedcba9876543210.part"]
        )
        assert names(tmp_path) == others

    def test_what_is_being_written_stays(self, tmp_path):
        with hidden_file(tmp_path, b"mine") as temporary:
            assert find_leftovers(tmp_path) == remove_leftovers(tmp_path) == []
            assert temporary.read_bytes() == b"mine"
        with replace_folder(tmp_path / "store") as fresh:
            assert remove_leftovers(tmp_path) == []
            assert fresh.is_dir()

    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_a_cleaner_between_creation_and_lock_costs_nothing(self, tmp_path, monkeypatch, what):
        """Its victim begins again under another name."""
        hold, cleaned = files._hold, []

        def clean_first(descriptor, path):
            if not cleaned:
                cleaned.extend(remove_leftovers(tmp_path))
            return hold(descriptor, path)

        monkeypatch.setattr(files, "_hold", clean_first)
        if what == "file":
            create_file(tmp_path / "new", b"abc")
            assert (tmp_path / "new").read_bytes() == b"abc"
        else:
            with replace_folder(tmp_path / "new") as fresh:
                (fresh / "file").touch()
            assert names(tmp_path / "new") == ["file"]
        assert len(cleaned) == 1
        assert names(tmp_path) == ["new"]

    def test_a_cleaner_that_holds_the_file_is_left_to_it(self, tmp_path, monkeypatch):
        hold, claims = files._hold, []

        def claim_first(descriptor, path):
            if claims:
                return hold(descriptor, path)
            with files.claimed(path) as is_abandoned:
                claims.append(is_abandoned)
                return hold(descriptor, path)

        monkeypatch.setattr(files, "_hold", claim_first)
        create_file(tmp_path / "new", b"abc")
        assert claims == [True]
        assert names(tmp_path) == ["new"]

    def test_writers_and_cleaners_at_once(self, tmp_path):
        stop, failures = threading.Event(), []

        def clean():
            while not stop.is_set():
                remove_leftovers(tmp_path)

        def write(number):
            try:
                for turn in range(30):
                    replace_file(tmp_path / f"file{number}", f"{turn}".encode())
                    create_file(tmp_path / f"file{number}.{turn}", b"new")
            except OSError as error:
                failures.append(error)

        cleaner = threading.Thread(target=clean)
        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in [cleaner, *writers]:
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        cleaner.join()
        assert failures == []
        assert len(names(tmp_path)) == 3 * 31

    def test_without_locks_age_decides(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files.fcntl, "flock", refuse(errno.ENOLCK))
        create_file(tmp_path / "new", b"abc")
        (tmp_path / f"{HIDDEN}.part").touch()
        assert remove_leftovers(tmp_path) == []
        long_ago = (tmp_path / "new").stat().st_mtime - files.ABANDONED_AFTER_S - 60
        os.utime(tmp_path / f"{HIDDEN}.part", (long_ago, long_ago))
        assert remove_leftovers(tmp_path) == [tmp_path / f"{HIDDEN}.part"]

    def test_links_pipes_and_missing_folders_are_left_alone(self, tmp_path):
        (tmp_path / "theirs").write_bytes(b"x")
        (tmp_path / f"{HIDDEN}.part").symlink_to("theirs")
        os.mkfifo(tmp_path / ".vidtag-fedcba9876543210.part")
        assert remove_leftovers(tmp_path) == []
        assert len(names(tmp_path)) == 3
        assert find_leftovers(tmp_path / "none") == []


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", refuse(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(files.os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError):
        sync_folder(tmp_path)


def test_a_system_without_renameat2_is_served(tmp_path, monkeypatch):
    """As macOS: the C library has no such function."""
    import ctypes

    monkeypatch.setattr(ctypes, "CDLL", lambda *args, **kwargs: object())
    create_file(tmp_path / "new", b"abc")
    with replace_folder(tmp_path / "store"):
        pass
    with replace_folder(tmp_path / "store") as fresh:
        (fresh / "second").touch()
    assert names(tmp_path) == ["new", "store"]
    assert names(tmp_path / "store") == ["second"]


def test_a_work_folder_is_gone_afterwards_and_what_a_kill_leaves_of_it_is_a_leftover(tmp_path):
    with work_folder(tmp_path) as work:
        (work / "file").write_text("x")
        assert find_leftovers(tmp_path) == []  # it is in use
    assert list(tmp_path.iterdir()) == []
    script = "import os, sys; from vidtag_cli.files import work_folder\nwith work_folder(sys.argv[1]): os._exit(1)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    assert len(find_leftovers(tmp_path)) == 1
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
