from __future__ import annotations

import fcntl
import os
import time

import pytest

from vidtag_cli.engines.cache_limit import (
    DEFAULT_LIMIT_GB,
    IN_USE_S,
    LIMIT_VARIABLE,
    cache_limit_bytes,
    make_room,
    stored_bytes,
)
from vidtag_cli.engines.sealed_store import KEY_BYTES, Refusal, SealedFile, SealedStore
from vidtag_cli.errors import UsageError

CONTENT = b"x" * 100_000
SLACK_BYTES = 1000  # of a manifest


@pytest.fixture
def store(tmp_path):
    return SealedStore(tmp_path / "engines", b"k" * KEY_BYTES)


def put(store, name, hours_ago):
    """Save a file of 100 kB that was used so long ago."""
    store.save(name, CONTENT, {})
    age(store.folder / name, 3600.0 * hours_ago)


def age(path, seconds):
    used_s = time.time() - seconds
    os.utime(path, (used_s, used_s))


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def test_what_was_unused_for_longest_goes_with_its_manifest(store):
    for name, hours_ago in (("a.engine", 30), ("b.engine", 50), ("c.timing", 40), ("d.kernels", 2)):
        put(store, name, hours_ago)
    assert stored_bytes(store.folder) == pytest.approx(4 * len(CONTENT), abs=4 * SLACK_BYTES)
    removed = make_room(store.folder, 2 * len(CONTENT) + 2 * SLACK_BYTES)
    assert [file.path.name for file in removed] == ["b.engine", "c.timing"]
    assert names(store) == ["a.engine", "a.engine.json", "d.kernels", "d.kernels.json"]
    assert store.load("b.engine") == Refusal("")  # built again without a complaint


def test_a_cache_within_its_limit_is_left_alone(store):
    put(store, "a.engine", 1000)
    assert make_room(store.folder, len(CONTENT) + SLACK_BYTES) == []
    assert isinstance(store.load("a.engine"), SealedFile)


def test_a_file_that_is_loaded_counts_as_used(store):
    put(store, "a.engine", 50)
    put(store, "b.engine", 40)
    store.load("a.engine")
    assert [file.path.name for file in make_room(store.folder, len(CONTENT) + SLACK_BYTES)] == ["b.engine"]


def test_the_engines_of_one_model_do_not_displace_each_other(store):
    for name in ("a.engine", "b.engine"):
        put(store, name, 0)
    age(store.folder / "a.engine", IN_USE_S / 2)
    assert make_room(store.folder, 1) == []


def test_locks_stay_and_what_a_killed_process_left_goes(store):
    with store.lock("a.engine", lambda: None):
        put(store, "a.engine", 0)
    left, being_written = (store.folder / f".vidtag-{digit * 16}.part" for digit in "bc")
    for path in (left, being_written):
        path.write_bytes(CONTENT)
        age(path, 2 * IN_USE_S)
    with being_written.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert stored_bytes(store.folder) == pytest.approx(len(CONTENT), abs=SLACK_BYTES)
        assert make_room(store.folder, 1) == []
    assert names(store) == [".a.engine.lock", being_written.name, "a.engine", "a.engine.json"]


def test_a_file_that_another_process_removes_first_is_no_error(store):
    put(store, "a.engine", 50)
    (file,) = make_room(store.folder, 1)
    file.remove()


def test_a_folder_in_the_cache_is_not_touched(store):
    (store.folder / "someone.engine").mkdir()
    age(store.folder / "someone.engine", 10 * IN_USE_S)
    assert (stored_bytes(store.folder), make_room(store.folder, 1)) == (0, [])


def test_no_folder_takes_no_room(tmp_path):
    assert stored_bytes(tmp_path / "none") == 0


@pytest.mark.parametrize(("text", "limit_gb"), [(None, DEFAULT_LIMIT_GB), ("", DEFAULT_LIMIT_GB), ("0.5", 0.5)])
def test_the_limit_comes_from_the_environment(monkeypatch, text, limit_gb):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(LIMIT_VARIABLE, text)
    assert cache_limit_bytes() == limit_gb * 1e9


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "20 GB"])
def test_a_limit_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(UsageError, match="such as 20"):
        cache_limit_bytes()
