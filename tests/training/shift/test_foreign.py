"""Footage of no world is counted, and every answer to it is listed."""

import pytest

from training.shift import foreign
from training.shift.foreign import Answered, write_foreign
from vidtag_cli.errors import UsageError
from vidtag_cli.pipeline.session import open_session


def test_colour_bars_are_not_located_and_what_cannot_be_read_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "SECONDS", 4)
    monkeypatch.setattr(foreign, "RATES_FPS", (1.0,))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    text = write_foreign("flyover", tmp_path / "foreign.md", [broken], [], ["grey"], ["smptebars"])
    assert (tmp_path / "foreign.md").read_text() == text
    assert "1 clips" in text and "| grey | 1 | own | frame by frame | 0 | 4 |" in text and "broken" not in text


def test_an_answer_is_listed():
    results = [
        Answered("bars", "grey", None, "own", "on a path", 3, 250),
        Answered("noise", "grey", None, "own", "on a path", 0, 250),
    ]
    text = foreign._markdown(open_session("flyover"), results)
    assert "| grey | all | own | on a path | 3 | 500 |" in text and "In all 3 of 500 (0.60%)" in text
    assert "- bars, grey, all a second, own, on a path: 3 of 250" in text and "- noise" not in text


@pytest.mark.parametrize(("changes", "made"), [(["nosuch"], []), ([], ["nosuch"])])
def test_what_is_not_there_is_named(tmp_path, changes, made):
    with pytest.raises(UsageError, match="nosuch"):
        write_foreign("flyover", tmp_path / "foreign.md", [], [], changes, made)
