from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidtag_cli.engines.sealed_store import KEY_BYTES, Refusal, SealedFile, SealedStore, seal_key, seal_key_path
from vidtag_cli.errors import ModelError

NAME = "a.engine"
CONTENT = b"kernels" * 100


@pytest.fixture
def store(tmp_path):
    return SealedStore(tmp_path / "engines", b"k" * KEY_BYTES)


def manifest(store):
    return store.folder / (NAME + ".json")


def change_manifest(store, **fields):
    manifest(store).write_text(json.dumps(json.loads(manifest(store).read_text()) | fields))


def test_what_was_saved_is_loaded_with_its_facts(store):
    sha256 = store.save(NAME, CONTENT, {"library": "tensorrt"})
    assert store.load(NAME) == SealedFile(CONTENT, sha256, {"library": "tensorrt"})


def test_nothing_is_no_reason(store):
    assert store.load(NAME) == Refusal("")


def test_folder_and_files_belong_to_the_user_alone(store):
    store.save(NAME, CONTENT, {})
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    store.folder.chmod(0o777)
    SealedStore(store.folder, b"k" * KEY_BYTES)
    assert store.folder.stat().st_mode & 0o777 == 0o700


CASES = {
    "foreign": (lambda s: manifest(s).unlink(), "no manifest, so this program did not build it"),
    "truncated": (lambda s: (s.folder / NAME).write_bytes(CONTENT[:-1]), "cut short or changed"),
    "corrupt": (lambda s: (s.folder / NAME).write_bytes(b"X" + CONTENT[1:]), "cut short or changed"),
    "empty": (lambda s: (s.folder / NAME).write_bytes(b""), "cut short or changed"),
    "manifest cut short": (lambda s: manifest(s).write_text(manifest(s).read_text()[:40]), "manifest cannot be read"),
    "manifest of another program": (lambda s: manifest(s).write_text("[1]"), "not one of this program's"),
    "facts changed": (lambda s: change_manifest(s, facts={"library": "x"}), "not sealed with this user's key"),
    "hash replaced": (lambda s: change_manifest(s, sha256="0" * 64), "not sealed with this user's key"),
    "seal left out": (lambda s: change_manifest(s, seal=None), "not sealed with this user's key"),
}


@pytest.mark.parametrize(("damage", "reason"), CASES.values(), ids=CASES)
def test_what_this_program_did_not_write_is_refused_with_the_reason(store, damage, reason):
    store.save(NAME, CONTENT, {})
    damage(store)
    found = store.load(NAME)
    assert isinstance(found, Refusal) and reason in found.reason


def test_a_sealed_file_under_another_name_is_refused(store):
    store.save("b.engine", CONTENT, {})
    (store.folder / "b.engine").rename(store.folder / NAME)
    (store.folder / "b.engine.json").rename(manifest(store))
    assert store.load(NAME) == Refusal("its manifest belongs to another file")


def test_a_cache_copied_from_another_user_is_refused(store, tmp_path):
    store.save(NAME, CONTENT, {})
    assert SealedStore(store.folder, b"x" * KEY_BYTES).load(NAME) == Refusal(
        "its manifest was not sealed with this user's key"
    )


@pytest.mark.parametrize("which", [NAME, NAME + ".json"])
def test_a_symbolic_link_is_not_followed(store, tmp_path, which):
    store.save(NAME, CONTENT, {})
    real = tmp_path / "elsewhere"
    (store.folder / which).rename(real)
    (store.folder / which).symlink_to(real)
    assert isinstance(store.load(NAME), Refusal)


def test_a_content_replaced_by_another_build_s_is_refused_not_mixed(store):
    store.save(NAME, b"first build", {})
    first = manifest(store).read_bytes()
    store.save(NAME, b"second build", {})
    manifest(store).write_bytes(first)
    assert isinstance(store.load(NAME), Refusal)


def test_a_full_disk_leaves_no_half_file(store, monkeypatch):
    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ModelError, match="No space left on device.*make room"):
        store.save(NAME, CONTENT, {})
    assert list(store.folder.iterdir()) == []


def test_a_cache_that_cannot_be_made_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="XDG_CACHE_HOME or VIDTAG_HOME"):
        SealedStore(tmp_path / "file" / "engines", b"k" * KEY_BYTES)


HOLD_LOCK = """
import sys
from pathlib import Path
from vidtag_cli.engines.sealed_store import SealedStore
with SealedStore(Path(sys.argv[1]), b"k").lock("a.engine", lambda: None):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_waits_and_is_told_so(store):
    command = [sys.executable, "-c", HOLD_LOCK, str(store.folder)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as other:
        assert other.stdout.readline() == "locked\n"
        said = []

        def let_the_other_go():
            said.append("waiting")
            other.communicate("\n")

        with store.lock(NAME, let_the_other_go):
            assert said == ["waiting"] and other.returncode == 0


def test_the_key_is_made_once_and_is_the_user_s_alone(tmp_path):
    path = tmp_path / "home" / "engine-seal.key"
    key = seal_key(path)
    assert len(key) == KEY_BYTES and seal_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.chmod(0o644), "can be read or written by others"),
        (lambda path: path.write_bytes(b"short"), "not a key of this program"),
    ],
)
def test_a_key_that_is_no_secret_is_replaced(tmp_path, caplog, damage, reason):
    path = tmp_path / "engine-seal.key"
    key = seal_key(path)
    damage(path)
    assert seal_key(path) != key and reason in caplog.text
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_key_does_not_lie_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("VIDTAG_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert not seal_key_path().is_relative_to(tmp_path / "cache")


def test_a_key_that_cannot_be_made_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="XDG_CONFIG_HOME or VIDTAG_HOME"):
        seal_key(tmp_path / "file" / "engine-seal.key")
