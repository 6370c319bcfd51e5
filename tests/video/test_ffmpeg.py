from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidtag_cli.errors import ModelError
from vidtag_cli.video import ffmpeg  # the module, not the library

VERSION_5_0 = "ffmpeg version 5.0.1 Copyright\\nconfiguration: --x\\nlibavutil      57. 17.100 / 57. 17.100"
VERSION_5_1 = "ffmpeg version N-123-gabc Copyright\\nconfiguration: --x\\nlibavutil      57. 28.100 / 57. 28.100"


@pytest.fixture
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ffmpeg.BINARY_VARIABLE, raising=False)


def _script(folder: Path, answer: str) -> Path:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n")
    path.chmod(0o755)
    return path


def test_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = _script(tmp_path, VERSION_5_1)
    monkeypatch.setenv(ffmpeg.BINARY_VARIABLE, str(named))
    found = ffmpeg.find_ffmpeg()
    assert (found.path, found.version, found.origin) == (named, "N-123-gabc", "$VIDTAG_FFMPEG")
    assert len(found.configuration_sha256) == 64


@pytest.mark.parametrize(("answer", "why"), [(VERSION_5_0, "too old"), ("hello", "is not ffmpeg")])
def test_a_named_binary_must_be_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, why: str) -> None:
    monkeypatch.setenv(ffmpeg.BINARY_VARIABLE, str(_script(tmp_path, answer)))
    with pytest.raises(ModelError, match=f"{why}.*install ffmpeg 5.1 or later"):
        ffmpeg.find_ffmpeg()


def test_a_named_binary_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ffmpeg.BINARY_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ModelError, match="does not run"):
        ffmpeg.find_ffmpeg()


@pytest.mark.usefixtures("no_variable")
def test_system_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(_script(tmp_path, VERSION_5_1).parent), prepend=os.pathsep)
    assert ffmpeg.find_ffmpeg().origin == "PATH"


@pytest.mark.usefixtures("no_variable")
def test_an_old_system_ffmpeg_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(_script(tmp_path, VERSION_5_0).parent), prepend=os.pathsep)
    assert ffmpeg.find_ffmpeg().origin == "imageio-ffmpeg"


@pytest.mark.usefixtures("no_variable")
def test_without_any_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_binary() -> str:
        raise RuntimeError("none")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ffmpeg.imageio_ffmpeg, "get_ffmpeg_exe", no_binary)
    with pytest.raises(ModelError, match="pip install imageio-ffmpeg"):
        ffmpeg.find_ffmpeg()


def test_reports_and_colours_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFREPORT", "file=/nowhere.log")
    monkeypatch.setenv("AV_LOG_FORCE_COLOR", "1")
    environment = ffmpeg.ffmpeg_environment()
    assert "FFREPORT" not in environment
    assert "AV_LOG_FORCE_COLOR" not in environment
