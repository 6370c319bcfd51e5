"""A journal is read back as it was written; one that is torn, hostile or from elsewhere moves and removes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidtag_cli.pipeline.output_journal import Journal, Placement, find_unsettled, read_journal, settle_folder

SHA = "00" * 32
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def journal_in(folder: Path, *placements: Placement) -> Journal:
    journal = Journal(placements)
    journal.path_in(folder).write_bytes(journal.text(folder))
    return journal


def test_it_is_read_as_it_was_written(tmp_path):
    names = ["a.gpx", "b c%.csv", os.fsdecode(b"caf\xe9\n"), "é", "file 0 x"]
    folders = [tmp_path, tmp_path / "a b", Path("/"), tmp_path]
    placements = [Placement(folders[k % 4], name, f"{k:064x}", k * 1000, k % 2 == 1) for k, name in enumerate(names)]
    journal = journal_in(tmp_path, *placements)
    assert read_journal(journal.path_in(tmp_path)) == journal


@pytest.mark.parametrize(
    "text",
    [
        b"vidtag-journal/1\n",
        f"vidtag-journal/1\nfolder /x\nfile 0 {SHA} 1 new a\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nhere /y\nfile 0 {SHA} 1 new a\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nfile 0 {SHA} 1 new a\n".encode(),
        f"vidtag-journal/2\nhere /x\nfile 0 {SHA} 1 new a\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nfile 1 {SHA} 1 new a\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nfile 0 {SHA} 1 new %2e%2e\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nfile 0 {SHA} 1 new %2Fetc%2Fpasswd\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nfile 0 {SHA} 1 new a%00\nend\n".encode(),
        f"vidtag-journal/1\nhere /x\nfile 0 {SHA} -1 new a\nend\n".encode(),
        b"vidtag-journal/1\nhere /x\nend\n",
        b"\xff" * 100,
        b"x" * 1_000_001,
    ],
)
def test_one_that_cannot_be_understood_is_named_and_nothing_is_touched(tmp_path, text):
    """It may be of a later version, and the earlier files beside it all that is left of them."""
    (tmp_path / "a").write_bytes(b"theirs")
    (tmp_path / ".vidtag-0123456789abcdef-0.earlier").write_bytes(b"earlier")
    path = tmp_path / ".vidtag-0123456789abcdef.journal"
    path.write_bytes(text)
    before = sorted(tmp_path.iterdir())
    assert read_journal(path) is None
    (sentence,) = settle_folder(tmp_path)
    assert "cannot be read" in sentence
    assert sorted(tmp_path.iterdir()) == before


def test_one_that_was_not_written_yet_is_removed(tmp_path):
    (tmp_path / ".vidtag-0123456789abcdef.journal").touch()
    assert settle_folder(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_one_folder_has_no_say_about_another(tmp_path):
    """A folder of a stranger brings a journal that names files elsewhere by their true hash."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "empty").touch()
    (tmp_path / "theirs").mkdir()
    journal_in(
        tmp_path / "theirs",
        Placement(tmp_path / "mine", "empty", EMPTY, 0, False),
        Placement(tmp_path / "theirs", "b", SHA, 1, False),
    )
    settle_folder(tmp_path / "theirs")
    assert (tmp_path / "mine" / "empty").exists()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_files_that_someone_changed_since_stay(tmp_path):
    (tmp_path / "a").write_bytes(b"changed by hand")
    journal_in(tmp_path, Placement(tmp_path, "a", SHA, 15, False), Placement(tmp_path, "b", SHA, 1, False))
    (sentence,) = settle_folder(tmp_path)
    assert "undone" in sentence
    assert (tmp_path / "a").read_bytes() == b"changed by hand"


def test_links_and_pipes_are_not_opened(tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / "a").symlink_to("target")
    os.mkfifo(tmp_path / "b")
    journal_in(tmp_path, Placement(tmp_path, "a", EMPTY, 0, False), Placement(tmp_path, "b", EMPTY, 0, False))
    settle_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "target"]


def test_an_earlier_file_without_a_journal_is_removed(tmp_path):
    (tmp_path / ".vidtag-0123456789abcdef-0.earlier").touch()
    assert len(find_unsettled(tmp_path)) == 1
    settle_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    assert settle_folder(tmp_path / "none") == find_unsettled(tmp_path / "none") == []
