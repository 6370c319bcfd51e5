"""The input is read without being changed, and a change is seen."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from vidtag_cli.errors import EvidenceError, InputError, UsageError
from vidtag_cli.pipeline import evidence as evidence_module
from vidtag_cli.pipeline.evidence import (
    check_expected_hash,
    check_is_sha256,
    check_named_after,
    open_evidence,
    sha256_of_evidence,
)

LONGEST_TICK_S = 0.02
"""File systems may count the time of a change in ticks of 1 to 10 ms."""


def state_of(path):
    with open_evidence(path) as evidence:
        return evidence.read_state()


def test_state_holds_the_hash_of_the_bytes(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x" * 100_000)
    state = state_of(path)
    assert state.sha256 == hashlib.sha256(b"x" * 100_000).hexdigest()
    assert state.size_bytes == 100_000


def test_reading_leaves_the_access_time_alone(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    sha256_of_evidence(path)
    assert path.stat().st_atime_ns == 1_000_000_000


def test_missing_folder_and_unreadable_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        sha256_of_evidence(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match="folder"):
        sha256_of_evidence(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        sha256_of_evidence(tmp_path / "a\0b.mp4")


def test_a_pipe_is_an_input_error_and_not_a_wait_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(InputError, match="pipe or a device"):
            sha256_of_evidence(path)


@pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n"])
def test_what_can_be_no_hash_is_wrong_usage(text):
    with pytest.raises(UsageError, match="64 digits"):
        check_is_sha256(text)


def test_a_hash_may_be_in_any_case_of_letters():
    check_is_sha256(hashlib.sha256(b"").hexdigest().upper())


def test_another_hash_than_expected_stops_the_run(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    state = state_of(path)
    check_expected_hash(path, state, state.sha256.upper())
    with pytest.raises(EvidenceError, match="expected"):
        check_expected_hash(path, state, "0" * 64)


@pytest.mark.skipif(not os.path.exists("/proc/kmsg"), reason="there is no /proc/kmsg here")
def test_an_empty_file_is_refused_and_so_is_one_that_keeps_its_readers_waiting(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "kernel.mp4").symlink_to("/proc/kmsg")
    for name in ("empty.mp4", "kernel.mp4"):
        with pytest.raises(InputError, match="empty|cannot be read"):
            sha256_of_evidence(tmp_path / name)


def rewrite(path):
    path.write_bytes(b"y")


def rewrite_and_restore(path):
    """As someone would who covers it up: the bytes and the times are what they were."""
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(b"y")
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def touch(path):
    os.utime(path, ns=(0, 0))


def append(path):
    with path.open("ab") as file:
        file.write(b"y")


@pytest.mark.parametrize(("change", "what"), [
    (rewrite, "sha256"), (rewrite_and_restore, r"\(ctime_ns\)"), (touch, "mtime_ns"), (append, "size_bytes"),
])  # fmt: skip
def test_whatever_is_done_to_a_file_between_two_readings_is_an_error(tmp_path, change, what):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x" * 1000)
    with open_evidence(path) as evidence:
        before = evidence.read_state()
        evidence.check_unchanged(before, evidence.read_state())
        time.sleep(LONGEST_TICK_S)
        change(path)
        with pytest.raises(EvidenceError, match=f"changed while it was read.*{what}"):
            evidence.check_unchanged(before, evidence.read_state())


@pytest.mark.parametrize("successor", [os.mkfifo, lambda path: path.write_bytes(b"x"), os.mkdir, lambda path: None])
def test_what_is_read_stays_the_file_and_another_one_under_its_name_is_an_error(tmp_path, successor):
    (tmp_path / "a").write_bytes(b"x")
    path = tmp_path / "clip.mp4"
    path.symlink_to("a")
    with open_evidence(path) as evidence:
        before = evidence.read_state()
        path.unlink()
        successor(path)
        after = evidence.read_state()
        assert after == before
        with pytest.raises(EvidenceError, match="its name while it was read"):
            evidence.check_unchanged(before, after)


def test_a_file_that_is_still_being_written_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    digest = evidence_module._digest

    def meanwhile(descriptor, size_bytes):
        append(path)
        return digest(descriptor, size_bytes)

    monkeypatch.setattr(evidence_module, "_digest", meanwhile)
    with open_evidence(path) as evidence, pytest.raises(EvidenceError, match="changed while it was read"):
        evidence.read_state()


def test_a_file_longer_than_a_chunk_is_hashed_whole_and_no_farther_than_it_was_long(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence_module, "_CHUNK_BYTES", 7)
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes(range(100)))
    with open_evidence(path) as evidence:
        assert evidence_module._digest(evidence.descriptor, 100) == hashlib.sha256(bytes(range(100))).hexdigest()
        assert evidence_module._digest(evidence.descriptor, 10) == hashlib.sha256(bytes(range(10))).hexdigest()
        assert evidence_module._digest(evidence.descriptor, 500) == hashlib.sha256(bytes(range(100))).hexdigest()


def test_outputs_named_after_other_bytes_are_an_error(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    state = state_of(path)
    check_named_after(path, state, None)
    check_named_after(path, state, state.sha256)
    with pytest.raises(EvidenceError, match="changed since its outputs were named"):
        check_named_after(path, state, "0" * 64)


def test_a_file_of_someone_else_is_read_though_its_access_time_moves(tmp_path, monkeypatch):
    """Linux refuses O_NOATIME to all but the owner and root."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    no_access_time, system_open, tried = getattr(os, "O_NOATIME", 0), os.open, []

    def refuse(name, flags, *rest, **options):
        if name == path:
            tried.append(flags)
            if len(tried) == 1:
                raise PermissionError(1, "Operation not permitted")
        return system_open(name, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert sha256_of_evidence(path) == hashlib.sha256(b"x").hexdigest()
    first, second = tried
    assert second == first & ~no_access_time
    assert second & os.O_NONBLOCK and second & os.O_CLOEXEC
    assert second & os.O_ACCMODE == os.O_RDONLY
