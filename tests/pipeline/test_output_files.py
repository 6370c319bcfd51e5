"""A run that fails leaves no file that was not there before, and says which it replaced."""

import errno
import os

import pytest

from vidtag_cli.errors import OutputError
from vidtag_cli.pipeline.output_files import all_or_none


def full(*args):
    raise OutputError(os.strerror(errno.ENOSPC))


def test_files_of_a_run_that_succeeds_stay(tmp_path):
    with all_or_none() as files:
        assert files.put(tmp_path / "a", lambda: (tmp_path / "a").write_text("new")) == 3
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("stop", [OutputError, ValueError, KeyboardInterrupt])
def test_new_files_go_with_the_run_that_fails(tmp_path, stop):
    def fail():
        raise stop

    with pytest.raises(stop), all_or_none() as files:
        files.put(tmp_path / "a", lambda: (tmp_path / "a").write_text("new"))
        files.put(tmp_path / "b", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_file_stays_and_is_named(tmp_path):
    (tmp_path / "old").write_text("old")
    with pytest.raises(OutputError, match="No space.*replaced before that: .*old$"), all_or_none() as files:
        files.put(tmp_path / "old", lambda: (tmp_path / "old").write_text("new"))
        files.put(tmp_path / "a", lambda: (tmp_path / "a").write_text("new"))
        files.put(tmp_path / "b", full)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_file_that_the_failing_write_did_not_make_stays(tmp_path):
    """Someone else's file appeared under the name of the output."""

    def meet():
        (tmp_path / "theirs").write_text("theirs")
        raise OutputError("exists already")

    with pytest.raises(OutputError), all_or_none() as files:
        files.put(tmp_path / "theirs", meet)
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_a_device_is_not_removed(tmp_path):
    with pytest.raises(OutputError) as caught, all_or_none() as files:
        files.put("/dev/null", lambda: None)
        files.put(tmp_path / "b", full)
    assert os.path.exists("/dev/null")
    assert "replaced" not in str(caught.value)
