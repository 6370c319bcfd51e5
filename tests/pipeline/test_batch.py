"""Many inputs: no two share their outputs, and what goes wrong with one stays with it."""

import pytest

from vidtag_cli.errors import OutputError, UsageError, VidtagError
from vidtag_cli.pipeline import batch
from vidtag_cli.pipeline.batch import locate_or_error, requests_for
from vidtag_cli.pipeline.run import OutputRequest, check_request
from vidtag_cli.writers.atomic import make_output_folder


def in_folder(inputs, folder, force=False):
    return requests_for(inputs, [], folder, "gpx,csv", None, True, force, "point")


def write(path, content=b"x"):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("other", ["b/clip.mp4", "a/clip.mov", "a/clip.mp4"])
def test_inputs_with_one_name_and_one_content_are_refused(tmp_path, other, force):
    inputs = [write(tmp_path / "a" / "clip.mp4"), write(tmp_path / other)]
    with pytest.raises(UsageError) as caught:
        in_folder(inputs, tmp_path, force)
    assert all(str(path) in str(caught.value) for path in inputs)


def test_one_name_with_another_content_is_another_output(tmp_path):
    inputs = [write(tmp_path / "a" / "clip.mp4"), write(tmp_path / "b" / "clip.mp4", b"y")]
    first, second = (request for _, request in in_folder(inputs, tmp_path))
    assert not {*first.tracks, first.report} & {*second.tracks, second.report}


def test_one_report_cannot_be_that_of_many(tmp_path):
    inputs = [write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4")]
    with pytest.raises(UsageError, match="--report"):
        requests_for(inputs, [], None, None, tmp_path / "r.json", True, False, "point")


def test_a_name_too_long_for_its_outputs_fails_alone(tmp_path):
    long, short = write(tmp_path / ("n" * 251 + ".mp4")), write(tmp_path / "short.mp4")
    (_, refused), (_, accepted) = in_folder([long, short], tmp_path)
    with pytest.raises(OutputError, match="too long.*--out"):
        check_request(long, refused)
    check_request(short, accepted)


def test_a_folder_for_outputs_that_cannot_be_one_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="the folder cannot be made"):
        make_output_folder(tmp_path / ("n" * 300))


def test_a_bug_met_in_one_video_is_its_outcome(tmp_path, monkeypatch):
    def stumble(*args, **kwargs):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(batch, "run_input", stumble)
    outcome = locate_or_error(tmp_path / "a.mp4", None, None, OutputRequest(), None, None, None)
    assert isinstance(outcome, VidtagError) and outcome.exit_code == 1
    assert "ZeroDivisionError: division by zero" in str(outcome) and "--debug" in str(outcome)
    assert isinstance(outcome.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [BrokenPipeError, KeyboardInterrupt])
def test_what_ends_the_program_is_no_outcome(tmp_path, monkeypatch, error):
    def stop(*args, **kwargs):
        raise error

    monkeypatch.setattr(batch, "run_input", stop)
    with pytest.raises(error):
        locate_or_error(tmp_path / "a.mp4", None, None, OutputRequest(), None, None, None)
