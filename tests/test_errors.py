from __future__ import annotations

from pathlib import Path

import pytest

from vidtag_cli.errors import missing_file, url_of


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org/a.mp4", "https://example.org/a.mp4"),
        ("rtsp://camera:554/1", "rtsp://camera:554/1"),
        ("s3://bucket/a b.mp4", "s3://bucket/a b.mp4"),
        ("file:///tmp/a.mp4", "file:///tmp/a.mp4"),
        ("HTTP://x", "HTTP://x"),
        ("/tmp/https://x", None),
        ("C:/a.mp4", None),
        ("concat:a|b", None),
        ("clip: the first.mp4", None),
    ],
)
def test_an_address_is_known_though_a_path_has_lost_a_slash(text, url):
    assert url_of(Path(text)) == url


def test_a_folder_may_be_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "https:").mkdir()
    assert url_of(Path("https:/a.mp4")) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a.mp4", "a.mp4: there is no such file"),
        ("https://example.org/a.mp4", "https://example.org/a.mp4: only local files are read"),
        ("file:///tmp/a.mp4", "file:///tmp/a.mp4: give the path alone"),
    ],
)
def test_what_is_missing_is_named_as_it_was_written(path, said):
    assert str(missing_file(Path(path))).startswith(said)
