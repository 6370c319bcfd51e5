"""The input is read without being changed, and a change is seen."""

import hashlib
import os
from pathlib import Path

import pytest

from vidtag_cli.errors import EvidenceError, InputError, UsageError
from vidtag_cli.pipeline.evidence import check_expected_hash, check_is_sha256, check_unchanged, read_evidence_state


def test_state_holds_the_hash_of_the_bytes(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x" * 100_000)
    state = read_evidence_state(path)
    assert state.sha256 == hashlib.sha256(b"x" * 100_000).hexdigest()
    assert state.size_bytes == 100_000


def test_reading_leaves_the_access_time_alone(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    read_evidence_state(path)
    assert path.stat().st_atime_ns == 1_000_000_000


def test_missing_folder_and_unreadable_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_evidence_state(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match="folder"):
        read_evidence_state(tmp_path)


def test_a_pipe_is_an_input_error_and_not_a_wait_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(InputError, match="pipe or a device"):
            read_evidence_state(path)


@pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n"])
def test_what_can_be_no_hash_is_wrong_usage(text):
    with pytest.raises(UsageError, match="64 digits"):
        check_is_sha256(text)


def test_a_hash_may_be_in_any_case_of_letters():
    check_is_sha256(hashlib.sha256(b"").hexdigest().upper())


def test_another_hash_than_expected_stops_the_run(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    state = read_evidence_state(path)
    check_expected_hash(path, state, state.sha256.upper())
    with pytest.raises(EvidenceError, match="expected"):
        check_expected_hash(path, state, "0" * 64)


def test_a_change_between_two_readings_is_an_error(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    before = read_evidence_state(path)
    path.write_bytes(b"y")
    with pytest.raises(EvidenceError, match="changed"):
        check_unchanged(path, before, read_evidence_state(path))
