"""All files of a run or none, whatever fails, is killed or signalled at whichever step; and the next run completes."""

from __future__ import annotations

import errno
import os
import signal
import stat
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidtag_cli import files as files_module
from vidtag_cli.errors import OutputError
from vidtag_cli.pipeline.output_files import all_or_none, settle_earlier_runs
from vidtag_cli.pipeline.output_journal import find_unsettled

NAMES = ("a.gpx", "b.csv", "a.report.json")
STEPS = [(os, "open"), (os, "link"), (os, "replace"), (os, "unlink"), (os, "fsync"), (files_module, "rename_with_flag")]
MOST_STEPS = 200
"""Far more than a run takes; a test stops at the first step number that no run reaches."""


def refuse(number: int):
    def raising(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return raising


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Thousands of flushes take minutes, and a killed process loses nothing that the system has."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def lay_out(folder: Path, kind: str) -> list[Path]:
    """Return where the outputs go: the record beside the tracks or in a folder of its own."""
    (folder / "out").mkdir()
    (folder / "records").mkdir()
    where = {"a.report.json": "records"} if kind == "two folders" else {}
    return [folder / where.get(name, "out") / name for name in NAMES]


@pytest.fixture(params=["one folder", "two folders"])
def paths(request, tmp_path) -> list[Path]:
    return lay_out(tmp_path, request.param)


@pytest.fixture(params=["two folders", "hard links", "neither"])
def paths_anywhere(request, tmp_path, monkeypatch) -> list[Path]:
    """As ``paths``, also where the file system does not rename with flags, or does not even link."""
    if request.param != "two folders":
        monkeypatch.setattr(files_module, "rename_with_flag", refuse(errno.EINVAL))
    if request.param == "neither":
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    return lay_out(tmp_path, request.param)


@pytest.fixture(params=[False, True], ids=["new", "force"])
def force(request) -> bool:
    return request.param


def put(paths: list[Path], text: str, force: bool) -> None:
    with all_or_none(force) as files:
        for path in paths:
            files.add(path, b"%s %s" % (text.encode(), os.fsencode(path.name)))


def prepare(paths: list[Path], force: bool) -> None:
    """Empty the folders; with ``force`` an old set is there."""
    for folder in {path.parent for path in paths}:
        for path in folder.iterdir():
            path.unlink()
    for path in paths if force else []:
        path.write_text(f"old {path.name}")
        path.chmod(0o640)


def state(paths: list[Path]) -> str:
    """Return which set is there as a whole: none, old, new; or what is there in part."""
    contents = {path.name: path.read_bytes() for path in paths if path.exists()}
    texts = {name: content.split()[0].decode() if content else "empty" for name, content in contents.items()}
    if not texts:
        return "none"
    whole = len(texts) == len(paths) and len(set(texts.values())) == 1
    return next(iter(texts.values())) if whole else f"in part: {texts}"


def hidden(paths: list[Path]) -> list[str]:
    return [path.name for folder in {path.parent for path in paths} for path in folder.iterdir() if path not in paths]


class Steps:
    """Counts the calls that change or flush something, and does something at one of them."""

    def __init__(self, monkeypatch, at: int, act, after: bool = False) -> None:
        self.count = 0
        self.reached = False
        for module, name in STEPS:
            monkeypatch.setattr(module, name, self._wrapped(getattr(module, name), name, at, act, after))

    def _wrapped(self, real, name, at, act, after):
        def call(*args, **kwargs):
            # Opening for reading changes nothing.
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **kwargs)
            self.count += 1
            is_now = self.count == at
            self.reached |= is_now
            if is_now and not after:
                act()
            try:
                return real(*args, **kwargs)
            finally:
                if is_now and after:
                    act()

        return call


def each_step(paths, force, act, after=False):
    """Yield for every step of a run what the run raised, after ``act`` was called before or after that step."""
    for at in range(1, MOST_STEPS):
        prepare(paths, force)
        error = None
        with pytest.MonkeyPatch.context() as patched:
            steps = Steps(patched, at, act, after)
            try:
                put(paths, "new", force)
            except (OutputError, SystemExit) as raised:
                error = raised
        if not steps.reached:
            assert (error, state(paths)) == (None, "new")
            assert at > 3 * len(paths)
            return
        yield error
    raise AssertionError("the run never ended")


def test_an_error_at_any_step_leaves_all_or_none(paths_anywhere, force):
    paths, before = paths_anywhere, "old" if force else "none"
    for error in each_step(paths, force, refuse(errno.EIO)):
        # An error of the last clean-up comes when everything is in place.
        assert error is None or isinstance(error, OutputError)
        settle_earlier_runs(paths)
        assert state(paths) in ((before, "new") if error else ("new",))
        assert hidden(paths) == []
        put(paths, "newer", force=True)
        assert state(paths) == "newer"


def test_an_error_while_files_are_put_in_place_is_undone_at_once(paths, force, monkeypatch):
    prepare(paths, force)
    real_replace, real_rename = os.replace, files_module.rename_with_flag

    def fail_for_the_record(real):
        def move(source, target, *flag):
            if Path(target).name == "a.report.json":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(source, target, *flag)

        return move

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", fail_for_the_record(real_replace))
        patched.setattr(files_module, "rename_with_flag", fail_for_the_record(real_rename))
        with pytest.raises(OutputError, match="a.report.json"):
            put(paths, "new", force)
    # The record itself was never replaced, so its earlier file needs no restoring.
    assert state(paths) == ("old" if force else "none")
    assert hidden(paths) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_at_any_step_leaves_all_or_none_and_ends_the_run(paths, force, number):
    def end(*_):
        raise SystemExit(128 + number)

    previous = signal.signal(number, end)
    try:
        seen = set()
        for error in each_step(paths, force, lambda: os.kill(os.getpid(), number)):
            assert isinstance(error, SystemExit)
            assert hidden(paths) == []
            seen.add(state(paths))
        assert seen == {"old" if force else "none", "new"}
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, previous)


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_before_the_record_is_in_place_undoes_what_was_done(paths, force, name):
    """So that the same command can be given again; once the record is there, the run is complete."""
    prepare(paths, force)
    ended = []
    previous = signal.signal(signal.SIGTERM, lambda *_: ended.append(True))

    def interrupted(real):
        def move(source, target, *flag):
            if Path(target).name == name:
                signal.raise_signal(signal.SIGTERM)
            return real(source, target, *flag)

        return move

    is_record = name == NAMES[-1]
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "replace", interrupted(os.replace))
            patched.setattr(files_module, "rename_with_flag", interrupted(files_module.rename_with_flag))
            with nullcontext() if is_record else pytest.raises(OutputError, match="SIGTERM came"):
                put(paths, "new", force)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert ended == [True]
    assert state(paths) == ("new" if is_record else "old" if force else "none")
    assert hidden(paths) == []


def test_an_ignored_signal_stays_ignored(paths):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert list(each_step(paths, False, lambda: os.kill(os.getpid(), signal.SIGHUP))).count(None) > 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_kill_at_any_step_is_settled_by_the_next_run(paths_anywhere, force):
    paths, before = paths_anywhere, "old" if force else "none"
    seen = set()
    for at in range(1, MOST_STEPS):
        prepare(paths, force)
        if not killed_after(paths, force, at):
            break
        settle_earlier_runs(paths)
        seen.add(state(paths))
        assert state(paths) in (before, "new")
        assert hidden(paths) == []
        if state(paths) == "old":
            assert all(stat.S_IMODE(path.stat().st_mode) == 0o640 for path in paths)
        if state(paths) == before:
            put(paths, "new", force)
            assert state(paths) == "new"
    assert seen == {before, "new"}


def killed_after(paths: list[Path], force: bool, at: int) -> bool:
    """Put the files in place in a process that is killed after a step; False when it ended before that step."""
    child = os.fork()
    if child == 0:
        try:
            Steps(pytest.MonkeyPatch(), at, lambda: os.kill(os.getpid(), signal.SIGKILL), after=True)
            put(paths, "new", force)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_the_next_run_in_either_folder_settles_both(tmp_path, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "records").mkdir()
    paths = [tmp_path / "out" / "a.gpx", tmp_path / "out" / "b.csv", tmp_path / "records" / "a.report.json"]
    for folder in ("out", "records"):
        for at in range(1, MOST_STEPS):
            prepare(paths, False)
            assert killed_after(paths, False, at)
            if state(paths).startswith("in part"):
                break
        settle_earlier_runs([tmp_path / folder / "another.gpx"])
        assert state(paths) == "none"
        assert "undone, locate again (a.gpx, b.csv, a.report.json)" in caplog.text
        caplog.clear()


def test_a_living_run_is_left_alone_by_one_that_settles(paths, force):
    for error in each_step(paths, force, lambda: settle_earlier_runs(paths)):
        assert (error, state(paths), hidden(paths)) == (None, "new", [])


def test_a_folder_that_was_moved_since_is_settled(tmp_path):
    """Or mounted under another path: the earlier files beside the journal must not be lost."""
    (tmp_path / "out").mkdir()
    paths = [tmp_path / "out" / name for name in NAMES]
    for at in range(1, MOST_STEPS):
        prepare(paths, True)
        assert killed_after(paths, True, at)
        if state(paths).startswith("in part"):
            break
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = [tmp_path / "moved" / path.name for path in paths]
    settle_earlier_runs(moved)
    assert (state(moved), hidden(moved)) == ("old", [])


def killed_in_part(paths: list[Path], at: int) -> bool:
    prepare(paths, False)
    return killed_after(paths, False, at) and state(paths).startswith("in part")


@pytest.mark.parametrize("stop", [OutputError, ValueError, KeyboardInterrupt])
def test_a_run_that_fails_before_its_end_writes_nothing(paths, force, stop):
    prepare(paths, force)
    with pytest.raises(stop), all_or_none(force) as files:
        files.add(paths[0], b"new")
        raise stop
    assert state(paths) == ("old" if force else "none")
    assert hidden(paths) == []


def test_someone_elses_file_stays_and_ours_are_taken_back(paths):
    with pytest.raises(OutputError, match=r"b\.csv: exists already"), all_or_none() as files:
        for path in paths:
            files.add(path, b"new")
        paths[1].write_bytes(b"")
    assert [path.name for path in paths if path.exists()] == ["b.csv"]
    assert paths[1].read_bytes() == b""
    assert hidden(paths) == []


def test_links_are_followed_and_permissions_kept(tmp_path):
    (tmp_path / "real.gpx").write_text("old")
    (tmp_path / "real.gpx").chmod(0o600)
    (tmp_path / "a.gpx").symlink_to("real.gpx")
    put([tmp_path / "a.gpx", tmp_path / "b.csv"], "new", force=True)
    assert (tmp_path / "a.gpx").is_symlink()
    assert (tmp_path / "real.gpx").read_text() == "new a.gpx"
    assert stat.S_IMODE((tmp_path / "real.gpx").stat().st_mode) == 0o600


def test_a_name_of_any_bytes_is_settled(tmp_path):
    paths = [tmp_path / os.fsdecode(b"caf\xe9 %41\n.gpx"), tmp_path / ("n" * 255)]
    at = next(at for at in range(1, MOST_STEPS) if killed_in_part(paths, at))
    assert at
    settle_earlier_runs(paths)
    assert (state(paths), hidden(paths)) == ("none", [])


def test_streams_are_written_before_any_file_appears(tmp_path, capfdbinary):
    """What fails to go into a pipe takes the files with it."""
    with all_or_none() as files:
        files.add(Path("-"), b"document")
        files.add(tmp_path / "a.gpx", b"new")
        assert capfdbinary.readouterr().out == b""
    assert capfdbinary.readouterr().out == b"document"
    with pytest.raises(OutputError, match="full"), all_or_none() as files:
        files.add(tmp_path / "b.gpx", b"new")
        files.add(Path("/dev/full"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpx"]


def test_a_full_standard_output_is_an_output_error(tmp_path, monkeypatch):
    full = SimpleNamespace(flush=lambda: None, buffer=SimpleNamespace(write=refuse(errno.ENOSPC)))
    monkeypatch.setattr("sys.stdout", full)
    with pytest.raises(OutputError, match="standard output"):
        put([Path("-"), tmp_path / "a.gpx"], "new", force=False)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_for_nothing(tmp_path):
    with all_or_none():
        pass


def test_doctor_can_ask_what_a_killed_run_left(tmp_path):
    paths = [tmp_path / name for name in NAMES]
    assert find_unsettled(tmp_path) == []
    assert any(killed_in_part(paths, at) for at in range(1, MOST_STEPS))
    suffixes = sorted(path.suffix for path in find_unsettled(tmp_path))
    assert suffixes.count(".journal") == 1 and ".part" in suffixes
