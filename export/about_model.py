"""What a bundle says in words: read from a TOML file per model, kept beside the code and not in it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidtag_cli.errors import InputError
from vidtag_cli.strict_values import StrictValueError, decode

ABOUT_FOLDER = Path(__file__).parent / "about"


@dataclass(frozen=True, slots=True)
class AboutModel:
    """The statements of a bundle that no training run measures."""

    version: str
    domain: str
    frames_per_second: float
    resize: Literal["squash", "center_crop"]
    window_frames: int
    overlap_frames: int
    data: tuple[str, ...]
    licences: tuple[str, ...]
    split: str


def read_about(name: str, path: Path | None = None) -> AboutModel:
    """Return the statements of ``path``, or else those kept for the preset ``name``.

    Raises InputError when there is no such file or a key is missing, unknown or of the wrong type.
    """
    chosen = path or ABOUT_FOLDER / f"{name}.toml"
    try:
        return decode(AboutModel, tomllib.loads(chosen.read_text("utf-8")))
    except FileNotFoundError as error:
        raise InputError(f"{chosen}: nothing describes the model {name!r}; write it or give --about") from error
    except (OSError, tomllib.TOMLDecodeError, StrictValueError) as error:
        raise InputError(f"{chosen}: {error}") from error
